from pathlib import Path

import pytest

from tests.logger.archive.examples import KEY, KEYS, ORIGIN, entry
from tests.logger.examples import edited
from tests.logger.store.examples import disarmed, raw, raw_sql
from tests.places import DATA
from weightwarden.logger.formats.canonical import decode_record, encode_record
from weightwarden.logger.record import Record
from weightwarden.logger.rollover import roll_over
from weightwarden.logger.sealing import seal
from weightwarden.logger.store import usage
from weightwarden.logger.store.errors import LogCorrupt, LogUnreadable
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.usage import HEAD_BYTES, log_usage
from weightwarden.logger.store.writer import LogWriter


def long_header(number: int) -> bytes:
    """A record whose header is longer than what is read of each record at first."""
    sampling = edited()["sampling"] | {"stop": [f"{number} " + "x" * HEAD_BYTES]}
    return encode_record(Record.model_validate(edited(seed=number, sampling=sampling)))


def append(url: str, entries: list[bytes]) -> None:
    with LogWriter.open(url, origin=ORIGIN) as writer:
        for future in [writer.append(one) for one in entries]:
            future.result(60)


def test_output_tokens_are_those_of_the_records(log_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PAGE", 7)
    entries = [long_header(number) if number % 10 == 0 else entry(number) for number in range(40)]
    append(log_url, entries)
    pages: list[int] = []
    found = log_usage(log_url, pages.append)
    assert found.records == sum(pages) == 40
    assert max(pages) <= 7
    assert found.output_tokens == sum(len(decode_record(one).output_token_ids) for one in entries) > 0
    assert found.disk.total >= found.disk.held > sum(map(len, entries))


def test_what_rolled_over_is_not_counted_and_its_space_is_named_free(log_url: str, tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    append(log_url, [entry(number) for number in range(2000)])
    before = log_usage(log_url)
    seal(log_url, str(tmp_path / "archives"), [KEY])
    append(log_url, [entry(2000)])
    roll_over(log_url, [str(tmp_path / "archives")], KEYS, keep=0)
    after = log_usage(log_url)
    assert after.records == 1
    assert after.output_tokens * 2000 == before.output_tokens
    if not log_url.startswith("postgresql"):  # which reclaims space by itself, later
        assert after.disk.held < before.disk.held / 4


def test_it_measures_beside_a_writer_and_changes_nothing(log_url: str) -> None:
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        writer.append(entry(0)).result(60)
        assert log_usage(log_url).records == 1
        assert writer.append(entry(1)).result(60) == 1
        found = log_usage(log_url)
        assert found.records == 2
        if not log_url.startswith("postgresql"):
            assert found.disk.parts["write-ahead log"] > 0
            assert found.disk.total == sum(Path(f"{log_url}{end}").stat().st_size for end in ("", "-wal"))
    with raw(log_url) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM entry").scalar() == 2


def test_free_pages_of_a_file_are_named_apart(tmp_path: Path) -> None:
    log = str(tmp_path / "log.db")
    append(log, [entry(number) for number in range(2000)])
    disarmed(log)
    raw_sql(log, 'DELETE FROM entry WHERE "index" < 1990')
    found = log_usage(log)
    assert found.disk.free > 100_000
    assert found.disk.held + found.disk.free == found.disk.parts["file"]


def test_a_log_of_an_earlier_version_is_not_migrated(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    log.write_bytes((DATA / "versions" / "0.1" / "log-0003.db").read_bytes())
    before = log.read_bytes()
    for opened in (log_usage, LogReader):
        with pytest.raises(LogUnreadable, match=r"version 0003 .* earlier one: sidecar run of this version upgrades"):
            opened(str(log))
    assert log.read_bytes() == before
    with pytest.raises(LogUnreadable, match="there is no log here"):
        log_usage(str(tmp_path / "none.db"))


def test_an_entry_that_is_no_record_is_named(log_url: str) -> None:
    append(log_url, [entry(0), b"no record", entry(2)])
    with pytest.raises(LogCorrupt, match="entry 1 is no record"):
        log_usage(log_url)
