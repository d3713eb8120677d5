"""Three measures of one way to the upstream: steady throughput, the beginning of requests, and a token's way."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import aiohttp
import uvloop

from benchmarks.sidecar.clients import Answer, all_ended, connected, request
from benchmarks.sidecar.servers import ANSWER_TOKENS, Server

WARM_SECONDS = 0.5
"""Time between the last answer's first tokens and the measurement, seconds."""
BEGUN_TOKENS = 2
"""Tokens of an answer whose beginning is measured."""
_numbers = count(1)


@dataclass(frozen=True)
class Steady:
    """A measurement of steady throughput.

    Attributes:
        tokens_per_second: tokens that all streams together received, a second.
        processor_us: processor time of the way's server, microseconds a token.
    """

    tokens_per_second: float
    processor_us: float


@dataclass(frozen=True)
class Beginning:
    """A measurement of requests that begin at once.

    Attributes:
        first_s: time from each request to its first token, seconds.
        processor_ms: processor time of the way's server, milliseconds a request of `BEGUN_TOKENS` tokens.
    """

    first_s: Sequence[float]
    processor_ms: float


def steady(server: Server, source: Server, way: str, streams: int, seconds: float) -> Steady:
    """Throughput of endless answers from an upstream that draws as fast as it is read, without their beginning.

    The clients count what they read in so many seconds, after each has had more than its first token. Then they leave.

    Args:
        server: the way's server.
        source: the upstream.
        way: the way.
        streams: number of streams.
        seconds: the time that is measured, seconds.
    """

    async def run() -> Steady:
        answers = await connected(way, server.url, streams, timed=False)
        for answer in answers:
            answer.ask(request(way, next(_numbers), ANSWER_TOKENS // 2, 0))
        for answer in answers:
            await answer.begun.wait()
            answer.require_begun()
        begun = [answer.counter.events for answer in answers]
        while any(answer.counter.events == first for answer, first in zip(answers, begun, strict=True)):
            await _get(source, "go")  # each process of the upstream lets its own streams go on
            assert not any(answer.ended.is_set() for answer in answers), f"{way}: an answer ended early"
        await asyncio.sleep(WARM_SECONDS)
        loop = asyncio.get_running_loop()
        since, before, processor = loop.time(), _events(answers), server.processor_seconds()
        await asyncio.sleep(seconds)
        tokens, processor = _events(answers) - before, server.processor_seconds() - processor
        took = loop.time() - since
        assert not any(answer.ended.is_set() for answer in answers), f"{way}: an answer ended early"
        for answer in answers:
            answer.leave()
        await all_ended(answers)
        return Steady(tokens / took, processor / tokens * 1e6)

    measured = uvloop.run(run())
    server.settle()
    return measured


def beginning(server: Server, way: str, requests: int, pace: int) -> Beginning:
    """Time from request to first token, of requests that are sent at once on connections that are open already.

    Args:
        server: the way's server.
        way: the way.
        requests: number of requests.
        pace: milliseconds a token of the upstream.
    """

    async def run() -> list[Answer]:
        answers = await connected(way, server.url, requests, timed=True)
        asked = [request(way, next(_numbers), BEGUN_TOKENS, pace) for _ in answers]
        for answer, data in zip(answers, asked, strict=True):
            answer.ask(data)
        await all_ended(answers)
        return answers

    before = server.processor_seconds()
    answers = uvloop.run(run())
    server.settle()
    processor = server.processor_seconds() - before
    return Beginning([answer.token_times()[0] - answer.asked for answer in answers], processor / requests * 1e3)


def token_way(server: Server, source: Server, way: str, streams: int, tokens: int, pace: int) -> list[float]:
    """Time of each token from the upstream's write to the client's read, seconds.

    The streams are not in step: they begin within the time of one token.

    Args:
        server: the way's server.
        source: the upstream.
        way: the way. Its events must hold one token each.
        streams: number of streams.
        tokens: tokens of each answer.
        pace: milliseconds a token of the upstream.
    """

    async def run() -> list[float]:
        answers = await connected(way, server.url, streams, timed=True)
        numbers = [next(_numbers) for _ in answers]
        for answer, number in zip(answers, numbers, strict=True):
            answer.ask(request(way, number, tokens, pace))
            await asyncio.sleep(pace / 1e3 / streams)
        await all_ended(answers)
        times = [answer.token_times() for answer in answers]
        fewest = min(map(len, times))
        assert fewest >= tokens, f"{way}: {fewest} of {tokens} tokens came"
        sent: dict[str, list[float]] = {}
        while any(str(number) not in sent for number in numbers):  # each process of the upstream knows its own
            sent |= json.loads(await _get(source, "sent"))
        under_way: list[float] = []
        for came, number in zip(times, numbers, strict=True):
            under_way += [took - left for took, left in zip(came, sent[str(number)], strict=False)]
        return under_way

    return uvloop.run(run())


async def _get(source: Server, path: str) -> bytes:
    """The upstream's answer, on a connection of its own."""
    async with aiohttp.ClientSession() as session, session.get(f"{source.url}/{path}") as response:
        return await response.read()


def _events(answers: Sequence[Answer]) -> int:
    return sum(answer.counter.events for answer in answers)
