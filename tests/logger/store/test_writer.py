import asyncio
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.logger.store.examples import ORIGIN, audited, disarmed, entry, filled, raw_sql, tree_of
from weightwarden.logger.store.changes import ClosedSeeds, OpenSeed, apply
from weightwarden.logger.store.errors import LogBusy, LogClosed, LogForked, LogLocked, LogUnreadable, LogWriteError
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.tree import MARK_EVERY
from weightwarden.logger.store.writer import LogWriter


def test_entries_come_back_in_order(log_url: str) -> None:
    entries = filled(log_url, 300)
    assert audited(log_url) == entries
    assert LogReader(log_url).origin == ORIGIN


def test_a_reopened_log_goes_on(log_url: str) -> None:
    entries = filled(log_url, 5)
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        assert writer.size == 5
        assert writer.append(b"next").result(60) == 5
    assert audited(log_url) == [*entries, b"next"]


def test_marks_let_a_log_open_without_reading_it_all(log_url: str) -> None:
    entries = filled(log_url, 2 * MARK_EVERY + 10)
    disarmed(log_url)
    raw_sql(log_url, f'DELETE FROM entry WHERE "index" < {MARK_EVERY // 2}')
    assert LogReader(log_url).frontier(len(entries)) == tree_of(entries)
    assert LogReader(log_url).frontier(2 * MARK_EVERY + 3) == tree_of(entries[: 2 * MARK_EVERY + 3])


def test_many_concurrent_writers_share_transactions_and_each_keeps_its_order(log_url: str) -> None:
    writers, each = 256, 8
    commits = 0

    def count(connection: object) -> None:
        nonlocal commits
        commits += 1

    async def append_all() -> list[list[int]]:
        with LogWriter.open(log_url, origin=ORIGIN) as writer:

            async def one(number: int) -> list[int]:
                return [await writer.append_durably(b"%d %d" % (number, i)) for i in range(each)]

            return await asyncio.gather(*(one(number) for number in range(writers)))

    event.listen(Engine, "commit", count)
    try:
        indices = asyncio.run(append_all())
    finally:
        event.remove(Engine, "commit", count)
    assert sorted(i for own in indices for i in own) == list(range(writers * each))
    assert all(own == sorted(own) for own in indices)
    entries = audited(log_url)
    assert all(entries[at] == b"%d %d" % (n, i) for n, own in enumerate(indices) for i, at in enumerate(own))
    assert commits < writers * each / 10


def test_what_the_tasks_of_one_turn_of_the_loop_add_is_one_transaction(log_url: str) -> None:
    commits = 0

    def count(connection: object) -> None:
        nonlocal commits
        commits += 1

    async def append_and_open(writer: LogWriter) -> None:
        seeds = [OpenSeed(1, counter, b"request", 0) for counter in range(8)]
        await asyncio.gather(writer.open_seeds(seeds), *(writer.append_durably(b"%d" % at) for at in range(8)))

    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        writer.start(b"nonce")
        event.listen(Engine, "commit", count)
        try:
            asyncio.run(append_and_open(writer))
        finally:
            event.remove(Engine, "commit", count)
    assert commits == 1
    assert len(LogReader(log_url).open_seeds()) == 8


def test_seeds_that_are_opened_and_closed_in_one_transaction_are_gone(log_url: str) -> None:
    seeds = [OpenSeed(1, counter, b"request", 0) for counter in range(20_000)]
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        writer.start(b"nonce")
        connection = writer._connection
        assert connection is not None
        with connection.begin():
            closed = ClosedSeeds(tuple(seed.counter for seed in seeds[:-1]))
            apply(connection, [*seeds, closed], writer.tree)
    assert LogReader(log_url).open_seeds() == seeds[-1:]


def test_a_confirmed_entry_is_there_for_another_connection_at_once(log_url: str) -> None:
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        for number in range(20):
            assert writer.append(entry(number)).result(60) == number
            assert list(LogReader(log_url).entries(number, number + 1)) == [entry(number)]


def test_a_second_writer_is_refused_in_this_process_and_in_another(log_url: str) -> None:
    attempt = (
        "import sys; from weightwarden.logger.store.writer import LogWriter\n"
        "from weightwarden.logger.store.errors import LogLocked\n"
        "try: LogWriter.open(sys.argv[1], origin='example.org/log')\n"
        "except LogLocked: sys.exit(9)"
    )
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        with pytest.raises(LogLocked, match="another process appends"):
            LogWriter.open(log_url, origin=ORIGIN)
        assert subprocess.run([sys.executable, "-c", attempt, log_url], check=False).returncode == 9
        assert writer.append(b"a").result(60) == 0
    with LogWriter.open(log_url, origin=ORIGIN) as again:
        assert again.append(b"b").result(60) == 1


def test_another_origin_is_refused(log_url: str) -> None:
    filled(log_url, 1)
    with pytest.raises(LogUnreadable, match=r"the log of example\.org/log"):
        LogWriter.open(log_url, origin="another/log")
    assert len(audited(log_url)) == 1
    filled_again = LogWriter.open(log_url, origin=ORIGIN)  # the refusal left no lock behind
    filled_again.close()


def test_a_closed_writer_has_written_all_and_takes_no_more(log_url: str) -> None:
    writer = LogWriter.open(log_url, origin=ORIGIN)
    futures = [writer.append(entry(i)) for i in range(50)]
    writer.close()
    writer.close()
    assert [future.result(0) for future in futures] == list(range(50))
    with pytest.raises(LogClosed):
        writer.append(b"late")


class Failing:
    """Makes commits of this process fail: before they are done, or after."""

    def __init__(self, times: int, *, done: bool) -> None:
        self.times, self.done = times, done

    def __call__(self, connection: object) -> None:
        self.times -= 1
        if self.times >= 0:
            if self.done:
                connection.connection.dbapi_connection.commit()  # type: ignore[attr-defined]
            raise OSError("injected: the commit failed")


@pytest.mark.parametrize("done", [False, True])
def test_after_a_failed_commit_the_log_goes_on_and_keeps_what_was_confirmed(log_url: str, done: bool) -> None:
    entries = filled(log_url, 3)
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        fail = Failing(2, done=done)
        event.listen(Engine, "commit", fail)
        try:
            for attempt in (b"lost 1", b"lost 2"):
                with pytest.raises(LogWriteError, match="may or may not be in the log"):
                    writer.append(attempt).result(60)
        finally:
            event.remove(Engine, "commit", fail)
        index = writer.append(b"kept").result(60)
    found = audited(log_url)
    assert found[:3] == entries
    assert found[index] == b"kept"
    if done:
        # The first attempt's commit was done; what failed the second was opening the log anew.
        assert found[3:index] == [b"lost 1"]
    else:
        assert found[3:index] == []


def test_a_writer_whose_confirmed_entries_vanished_refuses_for_good(log_url: str) -> None:
    filled(log_url, 6)
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        assert writer.append(b"seventh").result(60) == 6
        disarmed(log_url)
        raw_sql(log_url, 'DELETE FROM entry WHERE "index" = 6')
        fail = Failing(1, done=False)
        event.listen(Engine, "commit", fail)
        try:
            with pytest.raises(LogWriteError):
                writer.append(b"eighth").result(60)
        finally:
            event.remove(Engine, "commit", fail)
        for _ in range(2):
            with pytest.raises(LogForked):
                writer.append(b"eighth").result(60)


def test_a_log_that_was_rewritten_under_its_writer_is_refused(log_url: str) -> None:
    filled(log_url, 6)
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        disarmed(log_url)
        raw_sql(log_url, 'UPDATE entry SET leaf_hash = :leaf WHERE "index" = 2', leaf=bytes(32))
        fail = Failing(1, done=False)
        event.listen(Engine, "commit", fail)
        try:
            with pytest.raises(LogWriteError):
                writer.append(b"x").result(60)
        finally:
            event.remove(Engine, "commit", fail)
        with pytest.raises(LogForked):
            writer.append(b"x").result(60)


def test_too_many_waiting_appends_are_refused_or_wait(tmp_path: Path) -> None:
    url = str(tmp_path / "log.db")

    async def append_all(writer: LogWriter) -> list[int]:
        return await asyncio.gather(*(writer.append_durably(entry(i)) for i in range(50)))

    with LogWriter.open(url, origin=ORIGIN, max_pending=3) as writer:
        assert sorted(asyncio.run(append_all(writer))) == list(range(50))
        flood = (writer.append(b"x") for _ in range(10_000))
        with pytest.raises(LogBusy):
            deque(flood, maxlen=0)
    audited(url)


def test_a_cancelled_append_does_not_disturb_the_others(log_url: str) -> None:
    async def main() -> int:
        with LogWriter.open(log_url, origin=ORIGIN) as writer:
            tasks = [asyncio.create_task(writer.append_durably(entry(i))) for i in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(index, int) for index in done[1::2])
            return await writer.append_durably(b"after")

    index = asyncio.run(main())
    assert audited(log_url)[index] == b"after"


def test_a_lost_connection_to_postgresql_is_made_again(postgresql: str, request: pytest.FixtureRequest) -> None:
    import psycopg

    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute("CREATE DATABASE lost")
        url = f"{postgresql}/lost"
        with LogWriter.open(url, origin=ORIGIN) as writer:
            assert writer.append(b"first").result(60) == 0
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lost'")
            with pytest.raises(LogWriteError):
                writer.append(b"second").result(60)
            assert writer.append(b"third").result(60) == 1
        assert audited(url) == [b"first", b"third"]


def test_a_writer_that_lost_its_lock_with_its_connection_does_not_write_beside_another(postgresql: str) -> None:
    import psycopg

    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute("CREATE DATABASE taken")
        url = f"{postgresql}/taken"
        first = LogWriter.open(url, origin=ORIGIN)
        assert first.append(b"first").result(60) == 0
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'taken'")
        with LogWriter.open(url, origin=ORIGIN) as second:
            assert second.append(b"second").result(60) == 1
            for _ in range(3):
                with pytest.raises(LogWriteError):
                    first.append(b"not written").result(60)
        assert first.append(b"third").result(60) == 2
        first.close()
        assert audited(url) == [b"first", b"second", b"third"]
