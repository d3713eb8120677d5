"""Clients that record what reaches them, and when."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Heard:
    """A token at the client: time in seconds, choice, text, and the usage that its event states."""

    at: float
    stream: int
    text: str
    usage: int | None = None


@dataclass(frozen=True)
class HeardAnswer:
    """An answer at the client.

    Attributes:
        asked: time of the request, seconds.
        ended: time of the end, seconds.
        status: HTTP status.
        tokens: the tokens of all choices, in the order of their arrival.
        failed: whether the stream ended with an error.
    """

    asked: float
    ended: float
    status: int
    tokens: Sequence[Heard] = ()
    failed: bool = False

    @property
    def seconds(self) -> float:
        """Time from the request to the first token, or to the end without one, seconds."""
        return (self.tokens[0].at if self.tokens else self.ended) - self.asked


@dataclass(frozen=True)
class Asked:
    """A request of the answers of those numbers, of so many tokens each, a time in seconds after the others."""

    numbers: Sequence[int]
    tokens: int
    after: float = 0.0


def all_heard(url: str, asked: Sequence[Asked]) -> list[HeardAnswer]:
    """The answers to requests of one client, sent together except for their delays, in the order of the requests."""

    async def heard() -> list[HeardAnswer]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False) as http:
            return await asyncio.gather(*(_heard(http, url, one) for one in asked))

    return asyncio.run(heard())


async def _heard(http: aiohttp.ClientSession, url: str, asked: Asked) -> HeardAnswer:
    body: dict[str, Any] = {
        "model": "source",
        "prompt": [[number, 1] for number in asked.numbers],
        "max_tokens": asked.tokens,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "ignore_eos": True,
    }
    await asyncio.sleep(asked.after)
    started = time.perf_counter()
    tokens: list[Heard] = []
    failed = False
    async with http.post(f"{url}/v1/completions", json=body) as answer:
        async for line in answer.content:
            now = time.perf_counter()
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line.removeprefix(b"data: "))
            failed |= "error" in event
            for choice in event.get("choices", ()):
                if choice["finish_reason"] is None or choice["text"]:
                    usage = (event.get("usage") or {}).get("completion_tokens")
                    tokens.append(Heard(now, choice["index"], choice["text"], usage))
        return HeardAnswer(started, time.perf_counter(), answer.status, tokens, failed)
