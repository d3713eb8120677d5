import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.logger.archive.examples import ENTRIES, checkpoint_at
from tests.logger.store.examples import ORIGIN, audited, raw_sql
from tests.places import DATA
from weightwarden.logger.request_stamp import RequestStamp, is_request_id
from weightwarden.logger.store.changes import OpenSeed
from weightwarden.logger.store.draft import LeftDraft
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.schema import REQUEST
from weightwarden.logger.store.writer import LogWriter

BEGUN, ENDED = RequestStamp("req-1", 1_700_000_000_000), RequestStamp("req-1", 1_700_000_004_000)


def test_a_record_and_its_stamp_are_written_together(log_url: str) -> None:
    async def use() -> None:
        with LogWriter.open(log_url, origin=ORIGIN) as writer:
            draft = writer.draft(b"to be", BEGUN)
            await draft.extend(b"")
            assert list(writer.drafts().values()) == [LeftDraft(b"to be", b"", BEGUN)]
            assert await writer.append_durably(b"without") == 0
            assert await draft.end(b"with", ENDED) == 1
            assert await draft.end(b"with, again", ENDED) is None
            assert await writer.append_durably(b"another", RequestStamp("req-2", 5)) == 2

    asyncio.run(use())
    assert audited(log_url) == [b"without", b"with", b"another"]
    reader = LogReader(log_url)
    assert list(reader.stamps()) == [(1, ENDED), (2, RequestStamp("req-2", 5))]
    assert list(reader.stamps(REQUEST.c.request_id == "req-1", REQUEST.c.time > 7)) == [(1, ENDED)]


def test_stamps_can_be_changed_and_removed_and_the_log_stays_whole(log_url: str) -> None:
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        for number in range(3):
            writer.append(b"entry %d" % number, RequestStamp(f"req-{number}", number)).result(60)
    before = audited(log_url)
    raw_sql(log_url, "UPDATE request SET request_id = 'another' WHERE \"index\" = 1")
    raw_sql(log_url, 'DELETE FROM request WHERE "index" = 0')
    assert [stamp.request_id for _, stamp in LogReader(log_url).stamps()] == ["another", "req-2"]
    raw_sql(log_url, "DELETE FROM request")
    assert audited(log_url) == before
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        assert writer.append(b"next", RequestStamp("req-3", 3)).result(60) == 3
    assert len(audited(log_url)) == 4


def test_a_stamp_of_another_type_is_named(tmp_path: Path) -> None:
    log = str(tmp_path / "log.db")
    with LogWriter.open(log, origin=ORIGIN) as writer:
        writer.append(b"a", RequestStamp("req", 1)).result(60)
    raw_sql(log, "UPDATE request SET time = 'noon'")
    with pytest.raises(LogCorrupt, match="request of entry 0"):
        list(LogReader(log).stamps())


def test_a_log_of_version_0003_keeps_all_it_holds(tmp_path: Path) -> None:
    log = str(tmp_path / "log.db")
    with closing(sqlite3.connect(log)) as database:
        database.executescript((DATA / "log-0003.sql").read_text())
    with LogWriter.open(log, origin=ORIGIN) as writer:
        assert writer.size == 10
        assert writer.drafts() == {
            0: LeftDraft(ENTRIES[20], bytes([7, 0, 0, 0, 8, 0, 0, 0])),
            1: LeftDraft(ENTRIES[21], b""),
        }
        assert writer.append(b"stamped", ENDED).result(60) == 10
    assert audited(log) == [*ENTRIES[:10], b"stamped"]
    reader = LogReader(log)
    assert list(reader.stamps()) == [(10, ENDED)]
    assert reader.audit(lambda note: checkpoint_at(int(note.split(b"\n")[1])).root).size == 11
    assert [size for size, _ in reader.checkpoints()] == [7, 10]
    assert reader.archives() == [(0, 7, "archives/000000000000-000000000007.parquet")]
    assert reader.starts() == {1: b"n" * 32}
    assert reader.open_seeds() == [OpenSeed(1, 2, b"r" * 32, 1_700_000_000)]


@pytest.mark.parametrize("text", ["a", "0", "req_7.B-3", "x" * 128])
def test_ids_that_are_accepted(text: str) -> None:
    assert is_request_id(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "a b", "a\n", "ä", "a/b", '"', "\0"])
def test_ids_that_are_not(text: str) -> None:
    assert not is_request_id(text)
