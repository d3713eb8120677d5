"""The sidecar's cost: one upstream in one run, directly, through a plain proxy, and through the sidecar.

The first three ways take completions. The others go through the sidecar too: chats without tools, chats that offer
tools, whose text is searched for calls, and chats with a JSON schema, which is compiled once.

Throughput: tokens a second that all streams together receive from an upstream that draws as fast as it is read.
Latency: time of each token from the upstream's write to the client's read, at a pace of 50 tokens a second and stream,
and the time from request to first token. Each number of streams is measured in rounds, all ways in turn.

    python -m benchmarks.sidecar.cost [--log URL] [--streams 1,16,64] [--rounds 3]
"""

import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import click
import numpy as np
import sqlalchemy
import uvicorn

from benchmarks.free_port import free_port
from benchmarks.sidecar.token_source import seed_of
from weightwarden.logger.sidecar.log.seeds import write_seed_key
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.model.embedded import ensure_embedded_model

PACE = 20_000
"""Microseconds a token of the latency runs."""
FAST_TOKENS, PACED_TOKENS = 4000, 100
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
SERVERS = ("direct", "pass-through", "sidecar")
WAYS = (*SERVERS, *CHATS)
_numbers = count(1)


@dataclass(frozen=True)
class Run:
    """Measurements of one run of one way. Times are in seconds.

    Attributes:
        under_way: time from the upstream's write to the client's read, an entry a token; nan where the tokens' events
            cannot be told apart.
        first: time from request to first token, an entry a stream.
    """

    tokens_per_second: float
    under_way: Sequence[float]
    first: Sequence[float]


@click.command()
@click.option("--log", "log_url", metavar="URL", help="The log. Default: SQLite in a scratch folder.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where the scratch folder is made.")
@click.option("--streams", default="1,16,64", show_default=True, metavar="N,N", help="Concurrent streams.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of each.")
@click.option(
    "--option", "options", multiple=True, metavar="OPTION", help="More for `sidecar run`, such as --release-tick=20."
)
def main(log_url: str | None, folder: Path | None, streams: str, rounds: int, options: tuple[str, ...]) -> None:
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" uvicorn {uvicorn.__version__}, aiohttp {aiohttp.__version__}, SQLAlchemy {sqlalchemy.__version__}"
    )
    with tempfile.TemporaryDirectory(dir=folder) as scratch, ExitStack() as stack:
        urls = stack.enter_context(servers(Path(scratch), log_url, options))
        for number in map(int, streams.split(",")):
            fast: dict[str, list[Run]] = {way: [] for way in WAYS}
            paced: dict[str, list[Run]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way in WAYS:
                    fast[way].append(measured(urls, way, number, FAST_TOKENS * 4 // (number + 3), 0))
                for way in WAYS:
                    paced[way].append(measured(urls, way, number, PACED_TOKENS, PACE))
            report(number, fast, paced)


@contextmanager
def servers(scratch: Path, log_url: str | None, options: Sequence[str]) -> Iterator[dict[str, str]]:
    """The upstream, the proxy and the sidecar, each a process; their URLs."""
    ports = {way: free_port() for way in SERVERS}
    urls = {way: f"http://127.0.0.1:{port}" for way, port in ports.items()}
    logs = [scratch / f"{way}.log" for way in SERVERS]
    commands = (
        ["benchmarks.sidecar.token_source", str(ports["direct"])],
        ["benchmarks.sidecar.plain_proxy", str(ports["pass-through"]), urls["direct"]],
        sidecar_command(scratch, urls["direct"], ports["sidecar"], *options, log_url=log_url),
    )
    processes = [started(command, log) for command, log in zip(commands, logs, strict=True)]
    try:
        for port, process, log in zip(ports.values(), processes, logs, strict=True):
            await_port(port, process, log)
        yield urls | dict.fromkeys(CHATS, urls["sidecar"])
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def sidecar_command(
    scratch: Path,
    upstream: str,
    port: int,
    *options: str,
    log_url: str | None = None,
    grammar_backend: str = "guidance==1.7.6",
) -> list[str]:
    """The module and arguments of a sidecar on a port, with new keys and, by default, its log in a temporary folder."""
    key, seed = scratch / "log.key", scratch / "seed.key"
    SigningKey.generate("benchmark/sidecar").write(key)
    write_seed_key(seed, os.urandom)
    command = ["weightwarden.cli.sidecar", "run", "--upstream", upstream, "--model-dir", str(ensure_embedded_model())]
    command += ["--model-name", "source", "--log", log_url or str(scratch / "log.db"), "--seed-key", str(seed)]
    command += ["--signing-key", str(key), "--sampler", "vllm-cpu", "--engine-version", "0.32.0"]
    command += ["--client-seeds", "allow", "--tool-parser", "hermes", "--grammar-backend", grammar_backend]
    return [*command, "--listen", f"127.0.0.1:{port}", "--sampling-defaults", "neutral", *options]


def measured(urls: dict[str, str], way: str, streams: int, tokens: int, pace: int) -> Run:
    """One run of one way."""
    numbers = [next(_numbers) for _ in range(streams)]
    started = time.perf_counter()
    received = asyncio.run(take_all(urls[way], numbers, tokens, pace, CHATS.get(way)))
    seconds = time.perf_counter() - started
    sent = asyncio.run(sent_at(urls["direct"]))
    under_way, first = [], []
    for number, (asked, times) in zip(numbers, received, strict=True):
        least = 0.9 * tokens if way in CHATS else tokens  # a reader sends text that it held back with a later token's
        times = times[1:] if way in CHATS else times  # the first event of a chat holds no token
        assert len(times) >= least, f"{way}: {len(times)} of {tokens} tokens came"
        first.append(times[0] - asked)
        if len(times) < tokens:
            under_way.append(float("nan"))
            continue
        under_way += [took - left for took, left in zip(times, sent[number], strict=False)]
    return Run(streams * tokens / seconds, under_way, first)


async def take_all(
    url: str, numbers: Sequence[int], tokens: int, pace: int, chat: dict[str, Any] | None
) -> list[tuple[float, list[float]]]:
    """Request all streams at once. Return the time of each request, and of each of its tokens.

    Args:
        url: the server.
        numbers: number of each stream's request.
        tokens: tokens of each answer.
        pace: microseconds a token.
        chat: more fields of chats, or None for completions.
    """
    host, port = url.removeprefix("http://").split(":")

    async def take(number: int) -> tuple[float, list[float]]:
        if pace:
            await asyncio.sleep((number % 64) * pace / 64e6)  # an engine's streams are not in step
        body: dict[str, Any] = {"model": "source", "max_tokens": tokens, "stream": True}
        if chat is None:
            path = b"completions"
            body |= {"prompt": [number, pace], "ignore_eos": True}
        else:
            path = b"chat/completions"
            body |= {"messages": [{"role": "user", "content": "Hi"}], "seed": seed_of(number, pace), **chat}
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(host, int(port))
        asked = time.perf_counter()
        writer.write(
            b"POST /v1/%b HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n" % path
        )
        writer.write(b"content-length: %d\r\n\r\n" % len(data) + data)
        times: list[float] = []
        rest = b""
        while block := await reader.read(65_536):
            now = time.perf_counter()
            rest += block
            came = rest.count(b"data: {")
            times += [now] * came
            rest = rest[-6:]
        writer.close()
        return asked, times

    return await asyncio.gather(*map(take, numbers))


async def sent_at(url: str) -> dict[int, list[float]]:
    """Times at which the upstream sent each token of each request."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/sent") as response:
        return {int(number): times for number, times in json.loads(await response.read()).items()}


def report(streams: int, fast: dict[str, list[Run]], paced: dict[str, list[Run]]) -> None:
    """The table of one number of streams: medians over rounds; ratios within a round."""
    print(f"\n{streams} streams      tokens/s  of direct  of proxy   first token ms        token under way ms")
    print("                                              p50     p99          p50     p99")
    for way in WAYS:
        speed = median(run.tokens_per_second for run in fast[way])
        ratios = [
            median(
                run.tokens_per_second / other.tokens_per_second
                for run, other in zip(fast[way], fast[base], strict=True)
            )
            for base in ("direct", "pass-through")
        ]
        figures = [
            1e3 * median(float(np.quantile(getattr(run, what), q)) for run in paced[way])
            for what in ("first", "under_way")
            for q in (0.5, 0.99)
        ]
        print(
            f"  {way:<13} {speed:9.0f}  {ratios[0]:9.3f}  {ratios[1]:8.3f}"
            f"  {figures[0]:7.2f} {figures[1]:7.2f}      {figures[2]:7.2f} {figures[3]:7.2f}",
            flush=True,
        )


def started(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """A module of this project running as a process, with a log of its stderr."""
    with log.open("wb") as errors:
        return subprocess.Popen([sys.executable, "-m", *command], stderr=errors)  # noqa: S603  (ours)


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a process listens. The end of the process ends the wait.

    Raises:
        ChildProcessError: the process ended, or does not listen within a minute; the message holds the last lines of
            its log.
    """
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ChildProcessError("it did not start:\n" + log.read_text(encoding="utf-8")[-3000:]) from None
            time.sleep(0.05)


if __name__ == "__main__":
    main()
