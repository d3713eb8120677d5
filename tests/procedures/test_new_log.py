"""A log whose newest database is lost: the old copy is evidence, and a new log goes on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.logger.sidecar.log.test_restored_log import put_back
from tests.logger.sidecar.running import ORIGIN
from tests.procedures.operated import OperatedLog, findings
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.store.mark import LogRolledBack, mark_path
from weightwarden.logger.store.reader import LogReader

pytestmark = pytest.mark.slow

NEW_ORIGIN = f"{ORIGIN}-2"


def test_a_restored_log_is_refused_and_a_new_one_goes_on_beside_its_archives(operated: OperatedLog) -> None:
    settings = operated.settings()
    public, seen = operated.public("log.pub", *settings.signing_keys), operated.folder / "seen.checkpoint"
    operated.run()
    backup = operated.folder / "log-backup.db"
    shutil.copyfile(settings.log, backup)
    operated.run()
    assert findings([operated.archives], public, seen) == []
    put_back(Path(settings.log), backup)
    with pytest.raises(LogRolledBack, match=r"a new name, a new key .* and a new database"), opened(settings):
        pass

    key = operated.new_key("log-2.key", NEW_ORIGIN)
    new: dict[str, Any] = {
        "signing_keys": (key,),
        "log": str(operated.folder / "log-2.db"),
        "archives": str(operated.folder / "archives-2"),
    }
    with (
        pytest.raises(KeyFileError, match=f"the mark of {ORIGIN}, not of {NEW_ORIGIN}"),
        opened(operated.settings(**new, mark=mark_path(settings.signing_keys[0], ORIGIN))),
    ):
        pass
    operated.run(**new)
    new_public, new_seen = operated.public("log-2.pub", key), operated.folder / "seen-2.checkpoint"
    assert findings([operated.folder / "archives-2"], new_public, new_seen) == []
    operated.run(**new)
    assert findings([operated.folder / "archives-2"], new_public, new_seen) == []

    # The checks of the old log still hold, and its old copy still holds what it held.
    assert findings([operated.archives], public, seen) == []
    assert LogReader(settings.log).audit().size == 2
    with pytest.raises(LogRolledBack), opened(settings):
        pass


def test_the_seed_key_stays_and_the_new_log_has_other_seeds(operated: OperatedLog) -> None:
    with operated.sidecar() as first:
        first.complete([7], max_tokens=2)
        seeds = [record.seed for record in first.records()]
    key = operated.new_key("log-2.key", NEW_ORIGIN)
    with operated.sidecar(signing_keys=(key,), log=str(operated.folder / "log-2.db"), archives=None) as second:
        second.complete([7], max_tokens=2)
        assert not set(seeds) & {record.seed for record in second.records()}
