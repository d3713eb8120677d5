"""A server that misbehaves: a clean error to the client, a record, and nothing else."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from tests.logger.sidecar.running import Sidecar, events_of
from tests.logger.sidecar.scripted_upstream import (
    FIRST,
    HEAD,
    Answer,
    Upstream,
    V,
    event,
    honest,
    response,
    sends,
)
from weightwarden.logger.sidecar.upstream.client import IDLE_BYTES

FAILED = {"message": "the inference server failed", "type": "upstream_error", "param": None, "code": None}


async def _stall(_: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD + event([100])
    await asyncio.sleep(60)


async def _silence(_: dict[str, Any]) -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


async def _comments(_: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD + event([100])
    while True:
        yield b": still here\n\n"
        await asyncio.sleep(0.01)


async def _flood(_: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD + event([100])
    while True:
        yield b": " + b"x" * 60_000 + b"\n"


def _endless(block: bytes) -> Answer:
    async def answer(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD + event([100])
        while True:
            yield block

    return answer


async def _endless_line(_: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD + event([100])
    while True:
        yield b"x" * 65_536


MISBEHAVIOURS: dict[str, tuple[Answer, int]] = {
    # what it does, and how many tokens may have been released before it did
    "malformed JSON": (sends(FIRST, b"data: {nonsense\n\n"), 1),
    "JSON of another form": (sends(FIRST, b'data: {"choices": 5}\n\n'), 1),
    "an error as an event": (sends(FIRST, b'data: {"error": {"message": "SECRET"}}\n\n'), 1),
    "an id outside the vocabulary": (sends(FIRST, event([V])), 1),
    "a negative id": (sends(FIRST, event([-1])), 1),
    "an id beyond int64": (sends(FIRST, event([2**70])), 1),
    "an id as text": (sends(FIRST, b'data: {"choices": [{"index": 0, "token_ids": ["5"]}]}\n\n'), 1),
    "an id that is a fraction": (sends(FIRST, b'data: {"choices": [{"index": 0, "token_ids": [5.5]}]}\n\n'), 1),
    "another choice's index": (sends(FIRST, event([101], index=1)), 1),
    "two choices": (sends(FIRST, b'data: {"choices": [{"token_ids": [5]}, {"token_ids": [6]}]}\n\n'), 1),
    "a stall": (_stall, 1),
    "silence": (_silence, 0),
    "comments without end": (_comments, 1),
    "a flood of comments": (_flood, 1),
    "events without choices": (_endless(b'data: {"choices": []}\n\n' * 100), 1),
    "events without tokens": (_endless(event([]) * 100), 1),
    "done, and on": (sends(FIRST, b"data: [DONE]\n\n" + event([101])), 1),
    "a line without end": (_endless_line, 1),
    "a line of 1 MB": (sends(FIRST, b"data: " + b" " * 2**20 + b"{}\n\n"), 1),
    "an early close": (sends(FIRST), 1),
    "a close before anything": (sends(b""), 0),
    "a close within the head": (sends(b"HTTP/1.1 200 OK\r\nconte"), 0),
    "the end without any token": (sends(HEAD, event([], "stop"), b"data: [DONE]\n\n"), 0),
    "done without any token": (sends(HEAD, b"data: [DONE]\n\n"), 0),
    "an abort": (sends(FIRST, event([], "abort")), 1),
    "a made-up finish reason": (sends(FIRST, event([], "SECRET")), 1),
    "the wrong content type": (sends(response("200 OK", event([100], "stop"), content_type="application/json")), 0),
    "a redirect": (sends(response("307 Temporary Redirect", location="http://127.0.0.1:9/")), 0),
    "a refusal": (sends(response("400 Bad Request", b'{"error": "SECRET"}', content_type="application/json")), 0),
    "a failure": (sends(response("500 Internal Server Error", b"SECRET")), 0),
    "a strange status": (sends(response("299 SECRET")), 0),
    "no HTTP": (sends(b"SECRET SECRET SECRET\r\n\r\n"), 0),
    "headers without end": (sends(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n"), 0),
    "a compressed answer": (
        sends(
            response(
                "200 OK", gzip.compress(event([100], "stop")), content_type="text/event-stream", content_encoding="gzip"
            )
        ),
        0,
    ),
    "a compressed bomb": (
        sends(
            response("200 OK", gzip.compress(b"\n" * 2**26), content_type="text/event-stream", content_encoding="gzip")
        ),
        0,
    ),
    "broken chunks": (
        sends(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        0,
    ),
    "less than it announced": (
        sends(response("200 OK", event([100]), content_type="text/event-stream", content_length="9999")),
        1,
    ),
}


def reasons(sidecar: Sidecar, count: int) -> list[str | None]:
    """The reasons that the sidecar's own log gives, once it says so many requests."""
    for _ in range(300):
        events = [json.loads(line) for line in sidecar.said.getvalue().splitlines()]
        found = [event["reason"] for event in events if event["event"] == "request"]
        if len(found) >= count:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{len(found)} of {count} requests were said")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("case", MISBEHAVIOURS)
def test_a_misbehaving_server_is_a_clean_error_and_a_record_and_nothing_else(
    impatient: Sidecar, shared_upstream: Upstream, case: str, stream: bool
) -> None:
    answer, released = MISBEHAVIOURS[case]
    shared_upstream.answer = answer
    before, asked_before = len(impatient.records()), len(reasons(impatient, 0))
    got = impatient.complete(stream=stream, max_tokens=30)
    if stream and released:
        assert got.status_code == 200
        *chunks, error = events_of(got.text)
        assert error == {"error": FAILED}
        assert len(chunks) == released
    else:
        assert got.status_code == 502
        assert got.json() == {"error": FAILED}
    record = impatient.await_records(before + 1)[-1]
    assert reasons(impatient, asked_before + 1)[-1] is not None  # for who is paged
    by = "refused" if case == "a refusal" else "upstream"
    assert (record.finish_reason, record.stop_reason) == ("abort", by)
    assert record.output_token_ids == ([100] * released if stream else [])
    assert "SECRET" not in got.text + str(got.headers) + impatient.said.getvalue()
    shared_upstream.answer = honest
    again = impatient.complete(max_tokens=2)
    assert again.status_code == 200
    impatient.await_records(before + 2)


def test_misbehaviour_leaves_no_connection_and_no_memory_behind(impatient: Sidecar, shared_upstream: Upstream) -> None:
    process = psutil.Process()
    shared_upstream.answer = _flood
    impatient.complete()
    before, open_before = process.memory_info().rss, shared_upstream.open_now
    for _ in range(20):
        assert impatient.complete().status_code == 502
    assert process.memory_info().rss - before < 20 * IDLE_BYTES
    for _ in range(500):
        if shared_upstream.open_now <= open_before:
            break
        time.sleep(0.01)
    assert shared_upstream.open_now <= open_before
