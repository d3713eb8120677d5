"""Archives restored from a copy, checked against what the auditor saw."""

import shutil
from pathlib import Path

import pytest

from tests.procedures.operated import OperatedLog, findings
from weightwarden.logger.store.reader import LogReader

pytestmark = pytest.mark.slow


def put_back(archives: Path, backup: Path) -> None:
    """The folder as its backup has it."""
    shutil.rmtree(archives)
    shutil.copytree(backup, archives)


def test_restored_archives_hold_against_the_seen_checkpoint_and_sealing_goes_on(operated: OperatedLog) -> None:
    public = operated.public("log.pub", *operated.settings().signing_keys)
    seen, backup = operated.folder / "seen.checkpoint", operated.folder / "backup"
    operated.run()
    operated.run()
    assert findings([operated.archives], public, seen) == []
    shutil.copytree(operated.archives, backup)
    put_back(operated.archives, backup)
    assert findings([operated.archives], public, seen) == []
    assert operated.run() == []
    assert findings([operated.archives], public, seen) == []
    assert len(list((operated.archives / "requests").iterdir())) == 3


def test_a_backup_without_the_newest_archive_is_told_and_its_records_are_in_the_log(operated: OperatedLog) -> None:
    settings = operated.settings()
    public = operated.public("log.pub", *settings.signing_keys)
    seen, backup = operated.folder / "seen.checkpoint", operated.folder / "backup"
    operated.run()
    shutil.copytree(operated.archives, backup)
    operated.run()
    assert findings([operated.archives], public, seen) == []
    put_back(operated.archives, backup)
    assert findings([operated.archives], public, seen) == ["rollback"]
    assert operated.run() == []  # the sidecar knows what it sealed, and seals what is new
    assert findings([operated.archives], public, seen) == ["gap"]
    assert LogReader(settings.log).audit().size == 6


def test_archives_from_before_the_seen_checkpoint_may_expire(operated: OperatedLog) -> None:
    public = operated.public("log.pub", *operated.settings().signing_keys)
    seen = operated.folder / "seen.checkpoint"
    operated.options["keep_sealed"] = 1
    for _ in range(3):
        operated.run()
    assert findings([operated.archives], public, seen) == []
    for expired in sorted(operated.archives.glob("*.parquet"))[:2]:  # whose records left the database
        expired.unlink()
    assert operated.run() == []
    assert findings([operated.archives], public, seen) == []
    assert findings([operated.archives], public) == ["gap"]
