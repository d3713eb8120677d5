"""Connections: half-closed, pipelined, silent; a request that came whole is answered."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event, honest
from weightwarden.logger.serving import limited_protocol
from weightwarden.logger.serving.waiting_room import WaitingRoom, network_of

BODY = b'{"model": "small", "prompt": [5], "max_tokens": 3}'
STREAM = b'{"model": "small", "prompt": [5], "max_tokens": 3, "stream": true}'
GET = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"


def post(body: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST /v1/completions HTTP/%s\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (version, len(body)) + body


def connected(sidecar: Sidecar) -> socket.socket:
    url = httpx2.URL(sidecar.url)
    return socket.create_connection((url.host, url.port or 0), timeout=20)


def everything(connection: socket.socket) -> bytes:
    got = b""
    while block := connection.recv(65_536):
        got += block
    return got


def await_asked(upstream: Upstream, count: int) -> None:
    """Wait until the server was asked so often."""
    for _ in range(1000):
        if len(upstream.asked) >= count:
            return
        time.sleep(0.01)
    raise AssertionError("it was not asked")


async def slow(_: dict[str, Any]) -> AsyncIterator[bytes]:
    """An answer that begins when the client has long sent its last byte."""
    await asyncio.sleep(0.15)
    yield HEAD + event([200])
    await asyncio.sleep(0.05)
    yield event([201, 202], "length")


@pytest.mark.parametrize("request_bytes", [GET, post(BODY), post(STREAM), post(BODY, b"1.0")])
def test_a_client_that_shuts_down_its_sending_side_gets_its_answer(
    impatient: Sidecar, shared_upstream: Upstream, request_bytes: bytes
) -> None:
    before = len(impatient.records())
    shared_upstream.answer = slow
    with connected(impatient) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        got = everything(connection)
    assert got.startswith(b"HTTP/1.1 200 ")
    if b"stream" in request_bytes:
        assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    if request_bytes != GET:
        assert impatient.await_records(before + 1)[-1].finish_reason == "length"


def test_a_client_that_waits_long_after_its_last_byte_is_asked_whether_it_is_there(
    impatient: Sidecar, shared_upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_protocol, "PROBE_SECONDS", 0.05)
    shared_upstream.answer = slow
    with connected(impatient) as connection:
        connection.sendall(post(BODY))
        connection.shutdown(socket.SHUT_WR)
        got = everything(connection)
    interim, _, final = got.rpartition(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert interim.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == b""
    assert len(got) > len(final)
    assert final.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in final


@pytest.mark.parametrize("body", [BODY, STREAM])
def test_a_client_that_is_gone_is_cut_off_before_its_answer_begins(
    impatient: Sidecar, shared_upstream: Upstream, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    before = len(impatient.records())

    async def never(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        await asyncio.sleep(60)

    monkeypatch.setattr(limited_protocol, "PROBE_SECONDS", 0.05)
    shared_upstream.answer, asked = never, len(shared_upstream.asked)
    with connected(impatient) as connection:
        connection.sendall(post(body))
        await_asked(shared_upstream, asked + 1)
    record = impatient.await_records(before + 1)[-1]
    assert (record.finish_reason, record.stop_reason) == ("abort", "client")


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "behind",
    [GET, post(BODY), GET * 20, GET[:9], b"\r\n\r\n", b"this is no HTTP\r\n\r\n", post(b"x" * 50_000)],
    ids=["a request", "an answer", "many", "half a request", "empty lines", "no HTTP", "a long one"],
)
@pytest.mark.parametrize("ends", [False, True], ids=["open", "half-closed"])
def test_what_comes_behind_a_request_takes_nothing_from_its_answer(
    impatient: Sidecar, shared_upstream: Upstream, body: bytes, behind: bytes, ends: bool
) -> None:
    before = len(impatient.records())
    shared_upstream.answer = slow
    with connected(impatient) as connection:
        connection.sendall(post(body) + behind)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        while b"[DONE]" not in got and b'"usage"' not in got:
            block = connection.recv(65_536)
            assert block, got
            got += block
        if behind.strip():
            assert everything(connection).count(b"HTTP/1.1") == 0  # closed: no answer to the second, and no silence
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.count(b"HTTP/1.1") == 1
    if behind.strip() and body == BODY:
        assert b"connection: close" in got
    assert impatient.await_records(before + 1)[-1].finish_reason == "length"


def test_a_pipeline_that_comes_when_the_first_is_answered_goes_on(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    shared_upstream.answer = honest
    with connected(impatient) as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_rubbish_behind_a_request_is_not_taken_for_ever(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    async def never(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        await asyncio.sleep(60)

    upstream.answer = never
    limits = {"body": 10_000, "header_bytes": 10_000}
    with running(settings_in(tmp_path, model_folder, upstream.url, limits=limits)) as sidecar:
        with connected(sidecar) as connection:
            connection.sendall(post(BODY) + GET)
            await_asked(upstream, 1)
            with pytest.raises(ConnectionError):
                connection.sendall(b"x" * 10_000_000)
        assert sidecar.await_records(1)[0].stop_reason == "client"


class Seat:
    def __init__(self, room: WaitingRoom, address: str) -> None:
        self.closed = False
        self.room, self.address = room, address
        room.enter(address, self)

    def close_now(self) -> None:
        self.closed = True


def test_an_address_that_takes_more_places_than_it_has_loses_its_own_oldest() -> None:
    room = WaitingRoom(3)
    other = Seat(room, "b")
    seats = [Seat(room, "a") for _ in range(5)]
    assert [seat.closed for seat in seats] == [True, True, False, False, False]
    room.leave("a", seats[2])
    room.enter("a", seats[2])  # waits anew: the last in turn
    Seat(room, "a")
    assert [seat.closed for seat in seats] == [True, True, False, True, False]
    assert not other.closed


def test_room_is_made_at_the_address_that_has_most() -> None:
    room = WaitingRoom(10)
    assert not room.make_room()
    others = [Seat(room, name) for name in "bcd"]
    crowd = [Seat(room, "a") for _ in range(4)]
    assert all(room.make_room() for _ in range(3))
    assert [seat.closed for seat in crowd] == [True, True, True, False]
    assert not any(seat.closed for seat in others)
    assert all(room.make_room() for _ in range(4))
    assert not room.make_room()


def test_an_ipv6_network_is_one_address() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of(None) == network_of("") != network_of("a-socket")


@pytest.mark.parametrize(
    "begun",
    [b"", GET[:10], GET, post(BODY)[:-10], b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n"],
    ids=["silent", "half a header", "idle", "half a body", "no body"],
)
def test_one_client_that_holds_connections_locks_nobody_out(
    tmp_path: Path, model_folder: Path, upstream: Upstream, begun: bytes
) -> None:
    limits = {"connections": 12, "waiting": 8, "headers": 60.0, "receive": 60.0, "idle": 60.0}
    with running(settings_in(tmp_path, model_folder, upstream.url, limits=limits)) as sidecar:
        crowd = []
        try:
            for _ in range(20):
                crowd.append(connected(sidecar))
                crowd[-1].sendall(begun)
            with httpx2.Client(base_url=sidecar.url, timeout=20, trust_env=False) as client:
                assert client.get("/health").status_code == 200
                assert client.post("/v1/completions", content=BODY).status_code == 200
        finally:
            for connection in crowd:
                connection.close()


def test_connections_that_are_being_answered_are_never_closed_for_others(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    upstream.answer = slow
    limits = {"connections": 6, "waiting": 2}
    with running(settings_in(tmp_path, model_folder, upstream.url, limits=limits)) as sidecar:
        answered = [connected(sidecar) for _ in range(2)]
        for connection in answered:
            connection.sendall(post(BODY))
        await_asked(upstream, 2)
        crowd = [connected(sidecar) for _ in range(20)]
        assert [connection.recv(65_536)[:13] for connection in answered] == [b"HTTP/1.1 200 "] * 2
        for connection in [*crowd, *answered]:
            connection.close()
