"""An inference server without computation: vLLM's wire form, one event a token, as fast as possible or at a pace.

At a pace, it stores the time at which it sent each token of each request, so that a client can compute the latency of
each. `GET /sent` gives these times, by the request's number, and forgets them. Without a pace, a stream waits after its
first token for `GET /go`, so that streams that go on do not hinder others from beginning. Of several processes, one
answers, for its own streams.

    python -m benchmarks.sidecar.token_source PORT [PROCESSES]
"""

import asyncio
import json
import socket
import sys
import time
from typing import Any

import uvloop

from benchmarks.sidecar.side_by_side import BACKLOG, serve_side_by_side

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n"
FIRST_ID = 300
TURN = 256
"""Tokens after which a stream without a pace gives way to others: a write that is read at once does not wait."""
_PACES = 1 << 16


def event(token: int, finish: str | None, text: str = " token", usage: int | None = None) -> bytes:
    """An event with the fields of vLLM 0.32."""
    choice = {
        "index": 0,
        "text": text,
        "logprobs": None,
        "finish_reason": finish,
        "stop_reason": None,
        "token_ids": [token],
        "prompt_logprobs": None,
        "prompt_token_ids": None,
    }
    body = {
        "id": "cmpl-0123456789abcdef0123456789abcdef",
        "object": "text_completion",
        "created": 1795600000,
        "model": "source",
        "choices": [choice],
        "system_fingerprint": None,
        "usage": None if usage is None else {"completion_tokens": usage},
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


EVENTS = [event(FIRST_ID + at, None) for at in range(256)]
LAST = event(FIRST_ID, "length") + b"data: [DONE]\n\n"


def seed_of(number: int, pace: int) -> int:
    """The seed of a chat, which holds its number and its pace in milliseconds a token."""
    return number * _PACES + pace


class Source:
    """Server of any number of requests.

    A prompt of two ids is [number of the request, milliseconds a token]; for others the seed says both (`seed_of`).
    """

    def __init__(self, *, holds: bool = False) -> None:
        """A server without requests.

        Args:
            holds: let a stream without a pace wait after its first token for `GET /go`.
        """
        self.sent: dict[int, list[float]] = {}
        self._holds = holds
        self._go = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if head.startswith("get "):
                if head.startswith("get /go"):
                    self._let_go()
                body = json.dumps(
                    self._taken() if head.startswith("get /sent") else {"data": [{"id": "source"}]}
                ).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
                return
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            await self._answer(json.loads(await reader.readexactly(length)), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _taken(self) -> dict[int, list[float]]:
        """The times that are stored, which are forgotten."""
        sent, self.sent = self.sent, {}
        return sent

    def _let_go(self) -> None:
        """Let the streams that wait go on; those that begin from now on wait for the next time."""
        self._go.set()
        self._go = asyncio.Event()

    async def _answer(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        prompt = asked["prompt"]
        number, milliseconds = prompt if len(prompt) == 2 else divmod(asked["seed"], _PACES)
        pace = milliseconds / 1e3
        times: list[float] = []
        if pace:
            self.sent[number] = times
        count = asked["max_tokens"]
        writer.write(HEAD)
        due = time.perf_counter()
        for at in range(count):
            if pace and at:
                due += pace
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if pace:
                times.append(time.perf_counter())
            writer.write(LAST if at == count - 1 else EVENTS[at % 256])
            await writer.drain()
            if self._holds and not pace and not at:
                await self._go.wait()
            if not pace and at % TURN == TURN - 1:
                await asyncio.sleep(0)


async def main(listening: socket.socket) -> None:
    server = await asyncio.start_server(Source(holds=True).serve, sock=listening, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    serve_side_by_side(
        lambda listening: uvloop.run(main(listening)), int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 1
    )
