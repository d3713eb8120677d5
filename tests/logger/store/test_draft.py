import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from tests.logger.store.examples import ORIGIN, audited, raw_sql
from weightwarden.logger.store.draft import LeftDraft, first_free
from weightwarden.logger.store.errors import LogCorrupt, LogWriteError
from weightwarden.logger.store.writer import LogWriter


def tokens(*ids: int) -> bytes:
    return b"".join(i.to_bytes(4, "little") for i in ids)


def run_with_writer(url: str, use: object) -> None:
    async def main() -> None:
        with LogWriter.open(url, origin=ORIGIN) as writer:
            await use(writer)  # type: ignore[operator]

    asyncio.run(main())


def test_a_draft_becomes_one_entry_and_leaves_nothing_behind(log_url: str) -> None:
    async def use(writer: LogWriter) -> None:
        draft, other = writer.draft(b"to be"), writer.draft(b"another")
        await draft.extend(tokens(1, 2))
        await other.extend(tokens(7))
        await draft.extend(tokens(3))
        assert sorted(writer.drafts().values(), key=lambda d: d.tokens) == [
            LeftDraft(b"to be", tokens(1, 2, 3)),
            LeftDraft(b"another", tokens(7)),
        ]
        await asyncio.gather(draft.end(b"the record"), draft.end(b"the record, again"))
        await draft.end(b"the record, once more")
        await other.end(b"the other")
        assert writer.drafts() == {}

    run_with_writer(log_url, use)
    assert audited(log_url) == [b"the record", b"the other"]


def test_an_answer_without_tokens_becomes_an_entry_too(log_url: str) -> None:
    run_with_writer(log_url, lambda writer: writer.draft(b"to be").end(b"refused"))
    assert audited(log_url) == [b"refused"]


def test_what_was_left_behind_is_there_for_the_next_process_and_is_ended_once(log_url: str) -> None:
    async def leave(writer: LogWriter) -> None:
        await writer.draft(b"first").extend(tokens(1, 2))
        await writer.draft(b"second").extend(tokens(3))

    run_with_writer(log_url, leave)
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        left = writer.drafts()
        assert list(left.values()) == [LeftDraft(b"first", tokens(1, 2)), LeftDraft(b"second", tokens(3))]
        assert [writer.end_draft(number, b"ended %d" % number).result(60) for number in left] == [0, 1]
        assert [writer.end_draft(number, b"again").result(60) for number in left] == [None, None]
        assert writer.drafts() == {}
    assert len(audited(log_url)) == 2


def test_a_new_process_never_adds_to_the_draft_of_an_old_one(log_url: str) -> None:
    run_with_writer(log_url, lambda writer: writer.draft(b"old").extend(tokens(1)))
    run_with_writer(log_url, lambda writer: writer.draft(b"new").extend(tokens(2)))
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        assert sorted(left.payload for left in writer.drafts().values()) == [b"new", b"old"]


@pytest.fixture
def failing_commit() -> Iterator[list[str]]:
    """Commits fail as the list's last element says: before they are made, or after."""
    how: list[str] = []

    def commit(connection: object) -> None:
        if how and how.pop() == "before":
            raise OperationalError("commit", None, Exception("disk I/O error"))

    event.listen(Engine, "commit", commit)
    yield how
    event.remove(Engine, "commit", commit)


def test_a_failed_end_is_made_again_without_a_second_entry(log_url: str, failing_commit: list[str]) -> None:
    async def use(writer: LogWriter) -> None:
        draft = writer.draft(b"to be")
        await draft.extend(tokens(1))
        failing_commit.append("before")
        with pytest.raises(LogWriteError):
            await draft.end(b"record")
        await draft.end(b"record")
        await draft.end(b"record")

    run_with_writer(log_url, use)
    assert audited(log_url) == [b"record"]


def test_no_number_is_handed_out_twice_when_the_log_is_opened_anew(
    log_url: str, failing_commit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(writer: LogWriter) -> None:
        first = writer.draft(b"first")
        await first.extend(tokens(1))
        failing_commit.append("before")
        drafts = []
        for number in range(200):  # some while the writer reconnects
            drafts.append((number, writer.draft(b"%d" % number)))
            if number % 20 == 0:
                with contextlib.suppress(LogWriteError):
                    await writer.append_durably(b"entry")
            await asyncio.sleep(0.001)
        for number, draft in drafts:
            await draft.extend(tokens(number))
        left = sorted(int.from_bytes(one.tokens, "little") for one in writer.drafts().values())
        assert left == sorted([1, *range(200)])

    def slow(connection: Connection) -> int:
        time.sleep(0.05)
        return first_free(connection)

    monkeypatch.setattr("weightwarden.logger.store.writer.first_free", slow)
    run_with_writer(log_url, use)


def test_a_cancelled_extension_does_not_disturb_the_end(log_url: str) -> None:
    async def use(writer: LogWriter) -> None:
        draft = writer.draft(b"to be")
        await draft.extend(tokens(1))
        extending = asyncio.ensure_future(draft.extend(tokens(2)))
        await asyncio.sleep(0)
        extending.cancel()
        await draft.end(b"record of 1")

    run_with_writer(log_url, use)
    assert audited(log_url) == [b"record of 1"]


def test_tokens_missing_from_a_draft_are_named(log_url: str) -> None:
    async def use(writer: LogWriter) -> None:
        draft = writer.draft(b"to be")
        await draft.extend(tokens(1))
        await draft.extend(tokens(2))
        raw_sql(log_url, "DELETE FROM draft_tokens WHERE at = 0")
        with pytest.raises(LogCorrupt, match="missing before position 1"):
            writer.drafts()

    run_with_writer(log_url, use)


def test_seed_counters_are_handed_out_once_over_restarts(log_url: str) -> None:
    seen: list[int] = []

    async def use(writer: LogWriter) -> None:
        for number in (1, 10, 5):
            first = await writer.reserve_seeds(number)
            seen.extend(range(first, first + number))

    for _ in range(3):
        run_with_writer(log_url, use)
    assert seen == list(range(48))
    with pytest.raises(Exception, match="append-only"):
        raw_sql(log_url, "DELETE FROM seed_block")
    with pytest.raises(Exception, match="append-only"):
        raw_sql(log_url, 'UPDATE seed_block SET "end" = 0')


STREAMING = """
import asyncio, sys
from weightwarden.logger.store.writer import LogWriter

async def answer(writer, number):
    for at in range(10_000):
        draft = writer.draft(b"%s.%d.%d" % (sys.argv[2].encode(), number, at))
        for token in range(5):
            await draft.extend(token.to_bytes(4, "little"))
            sys.stdout.write(f"{sys.argv[2]}.{number}.{at} {token}\\n")
            sys.stdout.flush()
        await draft.end(b"%s.%d.%d" % (sys.argv[2].encode(), number, at))

async def main():
    with LogWriter.open(sys.argv[1], origin="example.org/log") as writer:
        print("ready", flush=True)
        await asyncio.gather(*(answer(writer, number) for number in range(8)))

asyncio.run(main())
"""


def test_a_killed_writer_loses_no_confirmed_token(log_url: str, tmp_path: Path) -> None:
    rng = random.Random(5)
    for kill in range(8):
        process = subprocess.Popen([sys.executable, "-c", STREAMING, log_url, str(kill)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.2))
        process.kill()
        output = process.stdout.read()
        process.stdout.close()
        process.wait()
        confirmed: dict[str, int] = {}
        for line in output[: output.rfind(b"\n") + 1].decode().splitlines():
            name, token = line.split()
            confirmed[name] = int(token) + 1
        before = len(audited(log_url))
        with LogWriter.open(log_url, origin=ORIGIN) as writer:
            left = writer.drafts()
            kept = {one.payload.decode(): len(one.tokens) // 4 for one in left.values()}
            kept |= {payload.decode(): 5 for payload in audited(log_url)}
            assert all(kept[name] >= count for name, count in confirmed.items()), kill
            for number in left:
                writer.end_draft(number, b"cut off %d" % kill).result(60)
            assert writer.drafts() == {}
        assert len(audited(log_url)) == before + len(left)
