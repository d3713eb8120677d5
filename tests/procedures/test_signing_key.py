"""Rotation of the log's signing key, with and without an overlap, and its loss."""

import pytest

from tests.cli.commands.test_run import invoke
from tests.logger.sidecar.running import ORIGIN
from tests.procedures.operated import OperatedLog, findings
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.store.reader import LogReader

pytestmark = pytest.mark.slow


def test_the_key_rotates_with_an_overlap_and_no_auditor_is_left_behind(operated: OperatedLog) -> None:
    operated.options["keep_sealed"] = 1
    old = operated.settings().signing_keys[0]
    new = operated.new_key("new.key", ORIGIN)
    only_old, only_new = operated.public("old.pub", old), operated.public("new.pub", new)
    both = operated.public("both.pub", old, new)
    seen = {name: operated.folder / f"{name}.checkpoint" for name in ("old", "both")}

    operated.run(signing_keys=(old,))
    operated.run(signing_keys=(old,))
    assert findings([operated.archives], only_old, seen["old"]) == []
    assert findings([operated.archives], both, seen["both"]) == []
    sealed_by_old = sorted(operated.archives.glob("*.parquet"))

    assert operated.run(signing_keys=(old, new)) == []  # as many archives as --keep-sealed
    assert findings([operated.archives], only_old, seen["old"]) == []
    assert findings([operated.archives], both, seen["both"]) == []

    assert operated.run(signing_keys=(new,)) == []
    assert operated.run(signing_keys=(new,)) == []
    assert LogReader(operated.settings().log).segment_start().size == 8  # rollover went on at every stage
    assert findings([operated.archives], both, seen["both"]) == []
    assert findings([operated.archives], only_old) == ["seal"] * 2
    assert findings([operated.archives], only_new) == ["seal"] * 2 + ["gap"]
    later = sorted(set(operated.archives.glob("*.parquet")) - set(sealed_by_old))
    assert findings(later, only_new, seen["both"]) == []


def test_after_too_short_an_overlap_one_rollover_with_both_public_keys_helps(operated: OperatedLog) -> None:
    operated.options["keep_sealed"] = 2
    old = operated.settings().signing_keys[0]
    new = operated.new_key("new.key", ORIGIN)
    both = operated.public("both.pub", old, new)
    for _ in range(3):
        operated.run(signing_keys=(old,))
    operated.run(signing_keys=(old, new))
    [begun] = operated.run(signing_keys=(new,))
    assert (begun["cause"], begun["kind"]) == ("not rolled over", "RolloverRefused")
    settings = operated.settings()
    assert LogReader(settings.log).sealed_size() == 10  # sealing itself went on
    rollover = ("log", "rollover", "--log", settings.log, "--archives", operated.archives, "--public-key", both)
    done = invoke(*rollover, "--keep", 2)
    assert done.exit_code == 0, done.output
    assert operated.run(signing_keys=(new,)) == []
    assert findings([operated.archives], both) == []


def test_the_new_key_alone_is_refused_until_something_was_signed_with_both(operated: OperatedLog) -> None:
    operated.run()
    new = operated.new_key("new.key", ORIGIN)
    with pytest.raises(KeyFileError, match="give the old one as well"), opened(operated.settings(signing_keys=(new,))):
        pass


def test_a_lost_key_ends_the_log_and_its_last_records_are_sealed_by_another_key_of_its_name(
    operated: OperatedLog,
) -> None:
    old = operated.settings().signing_keys[0]
    public, seen = operated.public("log.pub", old), operated.folder / "seen.checkpoint"
    operated.run()
    assert findings([operated.archives], public, seen) == []
    operated.run(archives=None)  # two records that nothing seals
    settings = operated.settings()
    old.unlink()
    last = operated.folder / "last.key"
    assert invoke("log", "key", "new", ORIGIN, "--out", last).exit_code == 0
    seal = ("log", "seal", "--log", settings.log, "--archives", operated.archives, "--signing-key", last)
    assert invoke(*seal).exit_code == 0
    public.write_text(public.read_text() + (operated.folder / "last.key.pub").read_text())
    assert findings([operated.archives], public, seen) == []
    assert LogReader(settings.log).sealed_size() == 4
