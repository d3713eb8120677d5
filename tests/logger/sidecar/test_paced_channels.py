"""Within a slot, a client cannot find out when its answer reached the gate: the record holds the slot alone."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Answer, Upstream, event
from weightwarden.logger.gate.response import WHOLE_SLOT
from weightwarden.logger.release import Pace, slot_seconds
from weightwarden.logger.serving import limited_protocol

SLOT = 23
"""The slot on which the answers leave: 1.69 seconds after the request, 0.34 after the slot before."""
EARLY, LATE = slot_seconds(SLOT - 1) + 0.02, slot_seconds(SLOT) - 0.2
BETWEEN = (EARLY + LATE) / 2


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream) -> Iterator[Sidecar]:
    pace = Pace(tokens=4, milliseconds=40)
    with running(
        settings_in(tmp_path_factory.mktemp("paced"), model_folder, shared_upstream.url, release_pace=pace)
    ) as one:
        yield one


def _after(seconds: float) -> Answer:
    async def answer(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        await asyncio.sleep(seconds)
        yield event([100, 101, 102], "length")

    return answer


def _received(sidecar: Sidecar, *, stream: bool, then: bytes | None) -> bytes:
    """All that the client gets, without what differs anyway. It sends something between both moments, or half-closes.

    Args:
        sidecar: the sidecar.
        stream: whether the answer is streamed.
        then: bytes behind the request, or None for the end of the sending side.
    """
    url = httpx2.URL(sidecar.url)
    text = b'{"model": "small", "prompt": [5], "max_tokens": 3, "stream": %s}' % (b"true" if stream else b"false")
    with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
        started = time.monotonic()
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
        )
        if then is None:
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.settimeout(started + BETWEEN - time.monotonic())
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(10)
            connection.sendall(then)
        got = b""
        while block := connection.recv(65_536):
            got += block
    return re.sub(rb'[0-9a-f]{32}|"created": ?[0-9]*', b"", got)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("then", [b"POST /v1/completions HTTP/1.1\r\n", None], ids=["pipelined", "half-closed"])
def test_nothing_shows_when_within_a_slot_the_answer_came(
    paced: Sidecar, shared_upstream: Upstream, monkeypatch: pytest.MonkeyPatch, stream: bool, then: bytes | None
) -> None:
    monkeypatch.setattr(limited_protocol, "PROBE_SECONDS", 0.02)
    before = len(paced.records())
    seen = set()
    for seconds in (EARLY, LATE):
        shared_upstream.answer = _after(seconds)
        seen.add(_received(paced, stream=stream, then=then))
    assert len(seen) == 1, seen
    records = paced.await_records(before + 2)[before:]
    assert {record.release and record.release.start_slot for record in records} == {SLOT}


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it_on_a_slot(
    paced: Sidecar, shared_upstream: Upstream
) -> None:
    shared_upstream.answer = _after(0.0)
    url = httpx2.URL(paced.url)
    text = b'{"model": "small", "prompt": [5], "max_tokens": 3}'
    head = b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\nexpect: 100-continue\r\n\r\n" % len(text)
    with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
        started = time.monotonic()
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert time.monotonic() - started >= slot_seconds(WHOLE_SLOT)
        connection.sendall(text)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
