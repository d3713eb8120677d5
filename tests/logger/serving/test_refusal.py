"""Answers of the HTTP layer itself, in the form that its daemon says."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from benchmarks.free_port import free_port
from weightwarden.logger.serving.connection_limits import ConnectionLimits
from weightwarden.logger.serving.limited_protocol import limited_protocol
from weightwarden.logger.serving.refusal import Refusal


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@contextmanager
def serving(refusal: Refusal) -> Iterator[int]:
    """The port of a server of `hello` with headers of at most 1,000 bytes."""
    protocol = limited_protocol(ConnectionLimits(header_bytes=1000), refusal)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(hello, port=port, http=protocol, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def body_of(path: str, status: int, words: str) -> bytes:
    return json.dumps({"path": path, "status": status, "words": words}).encode()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(Refusal(body_of)) as one:
        yield one


def test_a_refusal_has_the_daemons_body_and_the_path_that_was_parsed(port: int) -> None:
    got = httpx2.get(f"http://127.0.0.1:{port}/a/b?c=d", headers={"x": "y" * 1000}, trust_env=False)
    assert (got.status_code, got.headers["content-type"]) == (431, "application/json")
    words = "the request's headers are larger than 1000 bytes"
    assert got.json() == {"path": "/a/b", "status": 431, "words": words}


def test_before_a_path_was_parsed_there_is_none(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"\x00\x01")
        got = b""
        while block := connection.recv(65_536):
            got += block
    assert json.loads(got.partition(b"\r\n\r\n")[2]) == {
        "path": "",
        "status": 400,
        "words": "this is no well-formed HTTP/1.1 request",
    }


def test_a_connection_that_closes_while_its_refusal_waits_leaves_nothing_behind() -> None:
    waiting, goes_on = threading.Event(), threading.Event()

    async def pause() -> None:
        waiting.set()
        while not goes_on.is_set():
            await asyncio.sleep(0.005)

    with serving(Refusal(body_of, pause)) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"rubbish\r\n\r\n")
            assert waiting.wait(20)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        goes_on.set()
        assert httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False).text == "hello"
