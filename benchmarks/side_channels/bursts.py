"""Load as a channel: a server floods the sidecar for one client, and delays what another client gets.

    python -m benchmarks.side_channels.bursts [--out FOLDER] [--ticks 100]

Two things are delayed: the ticks on which another answer leaves, and responses that no record is about (`/health`).
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import click
import numpy as np

from benchmarks.attackers.hostile_source import HostileAnswer, Said, hostile_source
from benchmarks.results.file import Results
from benchmarks.results.tables.release_jitter import RELEASE_JITTER, ReleaseJitterRow
from benchmarks.results.tables.side_channels import SIDE_CHANNELS, SideChannelRow
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.client import Asked, all_heard
from benchmarks.side_channels.release_control import ReleaseControl
from benchmarks.sidecar.token_source import FIRST_ID
from weightwarden.logger.release import Pace
from weightwarden.sampler.types import BoolArray, FloatArray

TICK_MS = 200
GROUP = 8
CONTROLS = (ReleaseControl(tick_ms=TICK_MS), ReleaseControl(pace=Pace(tokens=GROUP, milliseconds=TICK_MS)))
FLOODED, VICTIM = 1, 2
"""Numbers of both answers."""
CHOICES = 16
"""Number of choices of the flooded answer."""
BURST = 120
"""Tokens of one choice in a burst."""
TOKEN_LIMIT = 7000
"""Largest number of tokens of a choice."""
HEAD_START = 1.0
"""Seconds from the request of the flooded answer to its first tick."""
POLL_SECONDS = 0.02
"""Seconds between two requests of `/health`."""


@dataclass(frozen=True)
class _Delays:
    """Delays that the other client measured in each tick, seconds, float64 [ticks].

    Attributes:
        group_t: lateness of a group.
        health_t: duration of the slowest response of `/health`.
    """

    group_t: FloatArray
    health_t: FloatArray


def measured(
    control: ReleaseControl, ticks: int, rng: np.random.Generator
) -> tuple[list[SideChannelRow], list[ReleaseJitterRow]]:
    """Flood the sidecar in random ticks, or not, and decode that from the delays. The bound of both channels is 0."""
    symbols_t = rng.integers(0, 2, ticks) == 1
    delays = _delays(control, symbols_t)
    channels = {"load, seen in another answer's ticks": delays.group_t, "load, seen in /health": delays.health_t}
    rows = [
        SideChannelRow(
            name=name,
            control=control.name,
            tokens=ticks * GROUP,
            symbols=ticks,
            alphabet=2,
            wrong=_wrong(delay_t, symbols_t),
            bound_bits=0.0,
        )
        for name, delay_t in channels.items()
    ]
    jitter = [
        ReleaseJitterRow(
            name=name,
            control=control.name,
            flooded=flooded,
            moments=int((symbols_t == flooded).sum()),
            late_p50_ms=1000 * float(np.quantile(delay_t[symbols_t == flooded], 0.5)),
            late_p99_ms=1000 * float(np.quantile(delay_t[symbols_t == flooded], 0.99)),
            late_max_ms=1000 * float(delay_t[symbols_t == flooded].max()),
        )
        for name, delay_t in (("group of an answer", delays.group_t), ("/health", delays.health_t))
        for flooded in (False, True)
    ]
    return rows, jitter


def _wrong(delay_t: FloatArray, symbols_t: BoolArray) -> int:
    """Wrong symbols of a decoder that compares each delay with the median, the server being known."""
    wrong = int(((delay_t > np.median(delay_t)) != symbols_t).sum())
    return min(wrong, len(symbols_t) - wrong)


def _delays(control: ReleaseControl, symbols_t: BoolArray) -> _Delays:
    ticks = len(symbols_t)
    seconds = TICK_MS / 1000
    said: list[Said] = []
    wait = HEAD_START
    for symbol in symbols_t:
        if symbol:
            said += [Said(FIRST_ID + at, " token", wait if at == 0 else 0.0) for at in range(BURST)]
            wait = 0.0
        wait += seconds
    if len(said) > TOKEN_LIMIT:
        raise ValueError(f"{ticks} ticks are too many: {len(said)} tokens of a choice")
    victim = [Said(FIRST_ID, " token", 0.001) for _ in range(1 + ticks * GROUP)]
    answers = {FLOODED: HostileAnswer(said), VICTIM: HostileAnswer(victim if control.pace else _one_a_tick(ticks))}
    with hostile_source(answers) as source, running_sidecar(source.url, control) as sidecar:
        heard, polled = asyncio.run(_both(sidecar.url, len(said), len(answers[VICTIM].said), ticks))
    since = np.array(heard) - heard[0]
    tick = np.rint(since / seconds).astype(np.int64)
    late = since - tick * seconds
    inside = (tick > 0) & (tick <= ticks)
    group_t = np.full(ticks, np.median(late[inside]))  # a tick on which nothing left says nothing
    group_t[tick[inside] - 1] = late[inside]
    group_t -= group_t.min()
    at = np.array([asked for asked, _ in polled])
    took = np.array([took for _, took in polled])
    began = min(at)
    place = np.floor((at - began - HEAD_START) / seconds).astype(np.int64)
    health = np.array([took[place == tick].max(initial=0.0) for tick in range(ticks)])
    return _Delays(group_t=group_t, health_t=health)


def _one_a_tick(ticks: int) -> Sequence[Said]:
    return [Said(FIRST_ID, " token", TICK_MS / 1000) for _ in range(ticks + 1)]


async def _both(url: str, flood: int, victim: int, ticks: int) -> tuple[list[float], list[tuple[float, float]]]:
    """Times of the groups of the victim, and the time and the duration of each response of `/health`."""
    polled: list[tuple[float, float]] = []

    async def poll() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False) as http:

            async def one() -> None:
                asked = time.perf_counter()
                async with http.get(f"{url}/health") as response:
                    await response.read()
                polled.append((asked, time.perf_counter() - asked))

            until = time.perf_counter() + HEAD_START + ticks * TICK_MS / 1000
            tasks = []
            while time.perf_counter() < until:
                tasks.append(asyncio.ensure_future(one()))
                await asyncio.sleep(POLL_SECONDS)
            await asyncio.gather(*tasks)

    async def hear() -> list[float]:
        asked = Asked([VICTIM], victim, HEAD_START - TICK_MS / 1000)
        [answer] = await asyncio.to_thread(all_heard, url, [asked])
        times = [token.at for token in answer.tokens]
        return [at for at, before in zip(times, [0.0, *times], strict=False) if at - before > TICK_MS / 4000]

    flooding = asyncio.ensure_future(_flood(url, flood))
    heard, _ = await asyncio.gather(hear(), poll())
    flooding.cancel()
    return heard, polled


async def _flood(url: str, tokens: int) -> None:
    """Ask for the flooded answer, and read it."""
    body = {"model": "source", "prompt": [FLOODED, 1], "n": CHOICES, "max_tokens": tokens, "stream": True}
    async with (
        aiohttp.ClientSession(trust_env=False) as http,
        http.post(f"{url}/v1/completions", json=body | {"ignore_eos": True}) as response,
    ):
        async for _ in response.content.iter_any():
            pass


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for load-channels.json, release-jitter.json, .md.")
@click.option("--ticks", type=click.IntRange(10, 100), default=100, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(out: Path | None, ticks: int, seed: int) -> None:
    rows: list[SideChannelRow] = []
    jitter: list[ReleaseJitterRow] = []
    for control in CONTROLS:
        channels, late = measured(control, ticks, np.random.default_rng([seed, 500]))
        rows += channels
        jitter += late
    click.echo(SIDE_CHANNELS.markdown(rows))
    click.echo(RELEASE_JITTER.markdown(jitter))
    if out is not None:
        settings = {"ticks": ticks, "seed": seed}
        SIDE_CHANNELS.write(out, "load-channels", Results[SideChannelRow].measured(rows, settings))
        RELEASE_JITTER.write(out, "release-jitter", Results[ReleaseJitterRow].measured(jitter, settings))


if __name__ == "__main__":
    main()
