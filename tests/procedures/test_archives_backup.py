"""Archives restored from a copy, checked against what the auditor saw."""

import shutil
from pathlib import Path

import pytest

from tests.cli.commands.test_run import invoke
from tests.procedures.operated import OperatedLog, findings

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


def test_an_archive_that_no_backup_has_is_written_anew_from_the_log(operated: OperatedLog) -> None:
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
    seal = ("log", "seal", "--log", settings.log, "--archives", operated.archives)
    again = invoke(*seal, "--signing-key", settings.signing_keys[0], "--again", 2)
    assert "000000000002-000000000004.parquet: records 2 to 3" in again.output
    assert findings([operated.archives], public, seen) == []


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
