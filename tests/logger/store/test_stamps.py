import asyncio
import shutil
from pathlib import Path

import pytest

from tests.logger.store.examples import ORIGIN, audited, raw_sql
from tests.places import DATA
from weightwarden.logger.request_stamp import RequestStamp, StampQuery, is_request_id
from weightwarden.logger.store.draft import LeftDraft
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter

BEGUN, ENDED = RequestStamp("req-1", 1_700_000_000_000), RequestStamp("req-1", 1_700_000_004_000)


def test_a_record_and_its_stamp_are_written_together(log_url: str) -> None:
    async def use() -> None:
        with LogWriter.open(log_url, origin=ORIGIN) as writer:
            draft = writer.draft(b"to be", BEGUN)
            await draft.extend(b"")
            assert list(writer.drafts().values()) == [LeftDraft(b"to be", b"", BEGUN)]
            assert await writer.append_durably(b"without") == 0
            assert await draft.end(b"with", ENDED.time) == 1
            assert await draft.end(b"with, again", ENDED.time) is None
            assert await writer.append_durably(b"another", RequestStamp("req-2", 5)) == 2

    asyncio.run(use())
    assert audited(log_url) == [b"without", b"with", b"another"]
    reader = LogReader(log_url)
    assert list(reader.stamps()) == [(1, ENDED), (2, RequestStamp("req-2", 5))]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (StampQuery(), [0, 1, 2, 3]),
        (StampQuery(indices=range(1, 3)), [1, 2]),
        (StampQuery(request_ids=("a", "none")), [0, 2]),
        (StampQuery(request_ids=()), []),
        (StampQuery(since=20), [1, 2, 3]),
        (StampQuery(until=20), [0]),
        (StampQuery(since=10, until=21, request_ids=("b",)), [1]),
    ],
)
def test_stamps_are_found_by_all_given_conditions(log_url: str, query: StampQuery, found: list[int]) -> None:
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        for at, request_id in enumerate(("a", "b", "a", "c")):
            writer.append(b"entry", RequestStamp(request_id, 10 + 10 * at)).result(60)
    assert [index for index, _ in LogReader(log_url).stamps(query)] == found


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


def test_records_and_drafts_of_version_0_1_have_no_stamps(tmp_path: Path) -> None:
    log = str(tmp_path / "log.db")
    shutil.copy(DATA / "versions" / "0.1" / "log-0003.db", log)
    with LogWriter.open(log, origin=ORIGIN) as writer:
        assert [draft.stamp for draft in writer.drafts().values()] == [None]
        size = writer.size
        assert writer.append(b"stamped", ENDED).result(60) == size
    assert list(LogReader(log).stamps()) == [(size, ENDED)]


@pytest.mark.parametrize("text", ["a", "0", "req_7.B-3", "x" * 128])
def test_ids_that_are_accepted(text: str) -> None:
    assert is_request_id(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "a b", "a\n", "ä", "a/b", '"', "\0"])
def test_ids_that_are_not(text: str) -> None:
    assert not is_request_id(text)
