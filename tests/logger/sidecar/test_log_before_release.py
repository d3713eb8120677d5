"""No token reaches a client before it is durable in the log, whatever fails."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from sqlalchemy import event as sa_event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from tests.logger.sidecar.running import Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event, honest
from weightwarden.logger.store.changes import Change, DraftTokens, OpenSeed
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.draft import left_behind
from weightwarden.logger.store.writer import LogWriter


async def _paced(_: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD
    for token in range(200, 230):
        yield event([token])
        await asyncio.sleep(0.005)
    yield event([230], "length")


def tokens_on_disk(log: str) -> int:
    """Tokens of all drafts and records, as another process reads them."""
    with LOG_DATABASE.make_engine(LOG_DATABASE.parse_url(log), writes=False).connect() as connection:
        drafts = left_behind(connection).values()
        recorded = connection.exec_driver_sql("SELECT payload FROM entry").scalars().all()
    tokens = sum(len(draft.tokens) // 4 for draft in drafts)
    for payload in recorded:
        tokens += int(json.loads(payload[: payload.index(b"\n")])["output_tokens"])
    return tokens


def unlogged(sidecar: Sidecar) -> int:
    """Most tokens that a client had, while a stream went on, which the log had not."""
    worst = received = 0
    with sidecar.client.stream("POST", "/v1/completions", json=BODY) as response:
        for line in response.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["finish_reason"] is None:
                received += 1
                worst = max(worst, received - tokens_on_disk(sidecar.log))
    assert received == 31
    return worst


BODY = {"model": "small", "prompt": "Once", "stream": True, "max_tokens": 31}


def test_every_token_is_in_the_log_when_its_client_has_it(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.answer = _paced
    assert unlogged(sidecar) <= 0


def test_a_sidecar_that_releases_first_would_be_seen(
    sidecar: Sidecar, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    durably = LogWriter._durably

    async def later(self: LogWriter, change: Change) -> int | None:
        async def eventually() -> None:
            await asyncio.sleep(0.3)
            await durably(self, change)

        tasks.append(asyncio.ensure_future(eventually()))
        return 0

    tasks: list[Any] = []
    monkeypatch.setattr(LogWriter, "_durably", later)
    upstream.answer = _paced
    assert unlogged(sidecar) > 5
    time.sleep(1)


@contextmanager
def failing_log(after: int = 0) -> Iterator[None]:
    """No transaction is committed any more, once `after` were."""
    left = [after]

    def commit(_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OperationalError("commit", None, Exception("disk I/O error"))

    sa_event.listen(Engine, "commit", commit)
    try:
        yield
    finally:
        sa_event.remove(Engine, "commit", commit)


def await_ready(sidecar: Sidecar) -> None:
    for _ in range(300):
        if sidecar.client.get("/ready").status_code == 200:
            return
        time.sleep(0.01)
    raise AssertionError("it is not ready again")


@pytest.mark.parametrize("stream", [True, False])
def test_when_the_log_cannot_be_written_nothing_is_served(sidecar: Sidecar, upstream: Upstream, stream: bool) -> None:
    assert sidecar.complete(max_tokens=2).status_code == 200
    asked = len(upstream.asked)
    with failing_log():
        for _ in range(3):
            got = sidecar.complete(stream=stream, max_tokens=5)
            assert (got.status_code, got.headers["retry-after"]) == (503, "5")
            assert got.json()["error"]["type"] == "log_unavailable"
    assert len(upstream.asked) == asked
    await_ready(sidecar)
    assert sidecar.complete(stream=stream, max_tokens=5).status_code == 200
    assert len(sidecar.records()) == 2  # what was refused was never asked for, and nothing waited to be written


def test_a_log_that_fails_within_a_stream_ends_it_and_the_record_holds_what_was_released(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    upstream.answer = _paced
    with failing_log(after=8):
        got = sidecar.complete(stream=True, max_tokens=31)
        *chunks, error = events_of(got.text)
        assert error["error"]["type"] == "log_unavailable"
        assert 0 < len(chunks) < 31
        assert sidecar.client.get("/ready").status_code == 503
    [record] = sidecar.await_records(1)
    assert record.output_token_ids == list(range(200, 200 + len(chunks)))
    assert (record.finish_reason, record.stop_reason) == ("abort", "logger")
    await_ready(sidecar)


@pytest.mark.parametrize("read", [0, 5])
def test_a_client_that_goes_away_leaves_a_record_of_what_was_released(
    sidecar: Sidecar, upstream: Upstream, read: int
) -> None:
    async def endless(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        if not read:
            await asyncio.sleep(60)
        for token in range(200, 8000):
            yield event([token])
            await asyncio.sleep(0.005)

    upstream.answer = endless
    received = 0
    try:
        with sidecar.client.stream(
            "POST", "/v1/completions", json={**BODY, "max_tokens": 8000}, timeout=60 if read else 0.5
        ) as response:
            for line in response.iter_lines():
                received += line.startswith("data: ")
                if received == read:
                    break
    except httpx2.ReadTimeout:
        assert not read
    [record] = sidecar.await_records(1)
    assert (record.finish_reason, record.stop_reason) == ("abort", "client")
    assert record.output_token_ids[:received] == list(range(200, 200 + received))
    assert len(record.output_token_ids) < received + 200
    for _ in range(300):
        if upstream.open_now == 0:
            break
        time.sleep(0.01)
    assert upstream.open_now == 0 or not read  # the server was told to stop


class Flood:
    """An upstream that draws as fast as it is read, and counts how far it came."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, _: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for _at in range(100_000):
            yield event([300], text="x" * 4000) * 10
            self.sent += 10


def test_a_client_that_does_not_read_slows_its_own_stream_and_holds_no_memory(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    upstream.answer = flood = Flood()
    settings = settings_in(tmp_path, model_folder, upstream.url, limits={"send": 3.0}, max_model_len=1_000_000)
    with running(settings) as sidecar, socket.socket() as client:
        url = httpx2.URL(sidecar.url)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((url.host, url.port))
        body = json.dumps({**BODY, "max_tokens": 900_000}).encode()
        head = b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        before = psutil.Process().memory_info().rss
        client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        came = -1
        while came != flood.sent or not came:
            came = flood.sent
            time.sleep(0.5)
        assert came < 500_000  # it stands still, too: sockets are full
        upstream.answer = honest
        assert sidecar.complete(max_tokens=3).status_code == 200  # nobody else waits
        assert psutil.Process().memory_info().rss - before < 64 * 2**20
        records = sidecar.await_records(2)
        assert ("abort", "client") in [(r.finish_reason, r.stop_reason) for r in records]


def test_a_slow_disk_slows_streams_and_nothing_is_drawn_far_ahead(sidecar: Sidecar, upstream: Upstream) -> None:
    upstream.answer = flood = Flood()

    def slow(_: object) -> None:
        time.sleep(0.1)

    sa_event.listen(Engine, "commit", slow)
    started = time.monotonic()
    try:
        received = 0
        with sidecar.client.stream("POST", "/v1/completions", json={**BODY, "max_tokens": 600}) as response:
            for block in response.iter_raw():
                received += block.count(b"data: ")
                assert flood.sent < received + 8000  # what sockets hold
    finally:
        sa_event.remove(Engine, "commit", slow)
    assert received == 602
    assert time.monotonic() - started > 0.5


def test_when_the_log_fails_one_choice_none_of_them_is_said_to_be_the_clients_doing(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    async def apart(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD + event([200])
        if body["seed"] == min(asked["seed"] for asked in upstream.asked):
            for token in range(201, 260):
                await asyncio.sleep(0.02)
                yield event([token])
        await asyncio.sleep(60)  # the other waits for its server when the log fails

    upstream.answer = apart
    with failing_log(after=12):
        got = sidecar.complete(stream=True, n=2, max_tokens=90)
    assert events_of(got.text)[-1]["error"]["type"] == "log_unavailable"
    records = sidecar.await_records(2)
    assert {(r.finish_reason, r.stop_reason) for r in records} == {("abort", "logger")}


def test_a_requests_seed_and_draft_are_written_together_before_the_server_is_asked(
    sidecar: Sidecar, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[type]] = []
    when_asked: list[int] = []
    commit = LogWriter._commit

    def committed(self: LogWriter, changes: Sequence[Change]) -> list[int | None]:
        written.append([type(change) for change in changes])
        return commit(self, changes)

    async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
        when_asked.append(len(written))
        async for block in honest(body):
            yield block

    upstream.answer = answer
    assert sidecar.complete(max_tokens=2).status_code == 200  # counters are reserved with the first request
    sidecar.await_closed_seeds()
    monkeypatch.setattr(LogWriter, "_commit", committed)
    assert sidecar.complete(max_tokens=2).status_code == 200
    assert sorted(kind.__name__ for kind in written[0]) == [DraftTokens.__name__, OpenSeed.__name__]
    assert when_asked[1] == 1
