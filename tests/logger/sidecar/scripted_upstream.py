"""A small inference server of vLLM's wire form, in this process, that answers as it is told, byte for byte.

Its tokens are a formula of prompt and seed. The real vLLM is the upstream in `make test-vllm`.
"""

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

V = 49_152
EOS = 2
Answer = Callable[[dict[str, Any]], AsyncIterator[bytes]]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n"


def drawn(body: dict[str, Any], count: int | None = None) -> list[int]:
    """The tokens that this server draws for a request: a formula, never the end of sequence."""
    seed = json.dumps([body["prompt"], body.get("seed")]).encode()
    return [
        100 + int.from_bytes(hashlib.sha256(seed + b"%d" % at).digest()[:4], "big") % 40_000
        for at in range(count if count is not None else body["max_tokens"])
    ]


def event(ids: list[int] | None, finish: str | None = None, **more: Any) -> bytes:
    """An event as vLLM sends it, with text and fields that nobody should believe."""
    choice = {"index": 0, "text": "UPSTREAM TEXT", "token_ids": ids, "finish_reason": finish, "stop_reason": None}
    body = {
        "id": "UPSTREAM-ID",
        "object": "text_completion",
        "created": 1,
        "model": "UPSTREAM-MODEL",
        "system_fingerprint": "UPSTREAM-FINGERPRINT",
        "choices": [{**choice, **more}],
        "usage": {"completion_tokens": 999},
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def honest(body: dict[str, Any]) -> AsyncIterator[bytes]:
    """An honest answer, a token an event."""
    yield HEAD
    ids = drawn(body)
    for at, token in enumerate(ids):
        yield event([token], "length" if at == len(ids) - 1 else None)
    yield b"data: [DONE]\n\n"


def sends(*blocks: bytes) -> Answer:
    """An answer of these bytes, whatever was asked."""

    async def answer(_: dict[str, Any]) -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    return answer


def response(status: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole response."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}connection: close\r\n\r\n".encode() + body


FIRST = HEAD + event([100])
"""A response that began well: one token."""


@dataclass
class Upstream:
    """What the server does, and what it was asked. `answer` may be changed at any time.

    `max_model_len` stands in its model cards (JSON); `models_gate` holds them back until it is set; `looked`: how often
    they were asked for.
    """

    answer: Answer = honest
    models: tuple[str, ...] = ("upstream-model",)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    max_model_len: int | str | None = None
    models_gate: threading.Event | None = None
    looked: int = 0
    open_now: int = 0
    url: str = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                    content = await reader.readexactly(int(headers.get("content-length", 0)))
                    if head[0].startswith("GET"):
                        self.looked += 1
                        while self.models_gate is not None and not self.models_gate.is_set():
                            await asyncio.sleep(0.01)
                        length = "" if self.max_model_len is None else f', "max_model_len": {self.max_model_len}'
                        cards = ", ".join(f'{{"id": {json.dumps(name)}{length}}}' for name in self.models)
                        body = f'{{"data": [{cards}]}}'.encode()
                        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                        await writer.drain()
                        continue
                    body_asked = json.loads(content)
                    self.asked.append(body_asked)
                    self.headers.append(headers)
                    async for block in self.answer(body_asked):
                        writer.write(block)
                        await writer.drain()
                    return
        finally:
            self.open_now -= 1
            writer.close()


@contextmanager
def scripted_upstream(answer: Answer = honest, *, listening: socket.socket | None = None) -> Iterator[Upstream]:
    """A running server, on a loopback port or a bound socket."""
    upstream = Upstream(answer)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    bound = listening or socket.create_server(("127.0.0.1", 0))
    server = asyncio.run_coroutine_threadsafe(
        asyncio.start_server(upstream._serve, sock=bound, limit=2**24), loop
    ).result()
    upstream.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield upstream
    finally:

        async def stop() -> None:
            server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
