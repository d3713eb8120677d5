"""A writer whose transactions fail."""

import asyncio
import traceback

import pytest
from sqlalchemy import text

from tests.logger.store.examples import ORIGIN, audited, disarmed, entry, filled, raw, raw_sql
from weightwarden.logger.store.errors import LogForked
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter


def forked(url: str) -> LogWriter:
    """A writer that finds a confirmed entry missing with its next append."""
    filled(url, 6)
    writer = LogWriter.open(url, origin=ORIGIN)
    disarmed(url)
    raw_sql(url, 'DELETE FROM entry WHERE "index" = 3')
    raw_sql(url, 'INSERT INTO entry SELECT 6, leaf_hash, payload FROM entry WHERE "index" = 5')
    with pytest.raises(OSError, match="not written"):
        writer.append(b"where 6 is").result(60)
    return writer


def test_a_confirmed_entry_that_vanished_from_the_middle_is_a_fork(log_url: str) -> None:
    with forked(log_url) as writer:
        for _ in range(2):
            with pytest.raises(LogForked, match="6 entries that were confirmed"):
                writer.append(b"x").result(60)


def test_each_failed_append_has_an_exception_of_its_own(log_url: str) -> None:
    with forked(log_url) as writer:
        errors = [writer.append(b"x").exception(60) for _ in range(5)]
        assert len({id(error) for error in errors}) == 5
        # One exception raised again and again would keep the frames, and entries, of every time.
        for error in errors:
            assert isinstance(error, LogForked)
            assert len(traceback.extract_tb(error.__traceback__)) == 0


def test_cancelled_appends_count_as_long_as_they_wait(log_url: str) -> None:
    async def flood() -> None:
        with LogWriter.open(log_url, origin=ORIGIN, max_pending=3) as writer:
            with raw(log_url) as other:
                stalled = "LOCK TABLE entry" if other.dialect.name == "postgresql" else "BEGIN IMMEDIATE"
                other.execute(text(stalled))
                for number in range(50):
                    task = asyncio.create_task(writer.append_durably(entry(number)))
                    await asyncio.sleep(0.001)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                other.rollback()
            assert await writer.append_durably(b"after") <= 3

    asyncio.run(flood())
    assert len(audited(log_url)) <= 4


def test_what_is_no_entry_fails_its_caller_alone(log_url: str) -> None:
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        for payload in (None, "text"):
            with pytest.raises(TypeError):
                writer.append(payload)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                asyncio.run(writer.append_durably(payload))  # type: ignore[arg-type]
        assert writer.append(b"a").result(60) == 0
    assert list(LogReader(log_url).entries(0, 1)) == [b"a"]
