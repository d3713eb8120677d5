"""Clients of the sidecar's benchmarks: many streamed answers of one server at once."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, cast

from benchmarks.sidecar.event_counter import EventCounter
from benchmarks.sidecar.token_source import seed_of

CHATS: dict[str, dict[str, Any]] = {
    "chat": {},
    "chat + tools": {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                },
            }
        ]
    },
    "chat + schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
        }
    },
}
"""More fields of the chats of each way."""
_CONNECTING = 32
"""Number of connections that are made side by side."""


def request(way: str, number: int, tokens: int, pace: int) -> bytes:
    """A request of one way.

    Args:
        way: the way; those of `CHATS` are chats, the others completions.
        number: number of the request.
        tokens: tokens of the answer.
        pace: milliseconds a token, or 0: as fast as they are read.
    """
    body: dict[str, Any] = {"model": "source", "max_tokens": tokens, "stream": True}
    if way in CHATS:
        path = b"chat/completions"
        body |= {"messages": [{"role": "user", "content": "Hi"}], "seed": seed_of(number, pace), **CHATS[way]}
    else:
        path = b"completions"
        body |= {"prompt": [number, pace], "ignore_eos": True}
    data = json.dumps(body).encode()
    head = b"POST /v1/%b HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n" % path
    return head + b"content-length: %d\r\n\r\n" % len(data) + data


class Answer(asyncio.Protocol):
    """One streamed answer, on a connection of its own.

    Attributes:
        counter: counter of its events.
        asked: time of its request, seconds.
        times: time at which each event was complete, seconds.
        begun: set at the first event that can hold a token; the first event of a chat holds none.
        ended: set at the end of the connection.
    """

    def __init__(self, way: str, *, timed: bool) -> None:
        """An answer that is not asked for yet.

        Args:
            way: the way.
            timed: whether the events' times are kept.
        """
        self.counter = EventCounter()
        self.asked = 0.0
        self.times: list[float] = []
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self._way, self._timed = way, timed
        self._before = 1 if way in CHATS else 0
        self._beginning = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, data: bytes) -> None:
        """Send the request."""
        assert self._transport is not None
        self.asked = time.perf_counter()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        came = self.counter.add(data)
        if self._timed:
            self.times += [time.perf_counter()] * came
        if not self.begun.is_set():
            self._beginning += data
            if self.counter.events > self._before:
                self.begun.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.begun.set()
        self.ended.set()

    def leave(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def token_times(self) -> list[float]:
        """Times of the events that can hold tokens, seconds.

        Raises:
            AssertionError: the answer is not complete.
        """
        assert self.counter.done, f"{self._way}: an answer ended early: {self._beginning[:500]!r}"
        return self.times[self._before : -1]

    def require_begun(self) -> None:
        """Check that tokens come.

        Raises:
            AssertionError: none came before the connection ended.
        """
        assert self.counter.events > self._before, f"{self._way}: no token came: {self._beginning[:500]!r}"


async def connected(way: str, url: str, number: int, *, timed: bool) -> list[Answer]:
    """So many answers with a connection each, not asked for yet."""
    host, port = url.removeprefix("http://").split(":")
    loop, room = asyncio.get_running_loop(), asyncio.Semaphore(_CONNECTING)

    async def one() -> Answer:
        async with room:
            _, answer = await loop.create_connection(lambda: Answer(way, timed=timed), host, int(port))
        return answer

    return await asyncio.gather(*(one() for _ in range(number)))


async def all_ended(answers: Sequence[Answer]) -> None:
    """Wait for the end of every answer."""
    await asyncio.gather(*(answer.ended.wait() for answer in answers))
