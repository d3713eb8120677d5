"""The sidecar's cost, in three measures: steady throughput, the beginning of requests, and a token's way.

One upstream is reached directly, through a plain proxy on the same libraries, and through the sidecar, all in one run
and in turn. These ways take completions; the others take chats through the sidecar: without tools, with tools, whose
text is searched for calls, and with a JSON schema, which is compiled once.

*Steady*: tokens a second of endless answers, from an upstream that draws as fast as it is read, after every stream has
its first token. *Beginning*: time to the first token of requests that are sent at once, on connections that are open.
*Token way*: time from the upstream's write to the client's read, at 50 tokens a second and stream.

Processor time is that of the way's server alone, with its threads and processes. Other work on the machine disturbs it
least.

    python -m benchmarks.sidecar.cost [--quick] [--measure steady]... [--streams 1,16,64] [--requests 64,256]
        [--seconds 10] [--rounds 3] [--log URL] [--option OPTION]... [--out FOLDER]
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import click
import numpy as np
import sqlalchemy
import uvicorn

from benchmarks.results.file import Results
from benchmarks.results.table import ResultsTable
from benchmarks.results.tables.sidecar_cost import (
    SIDECAR_BEGINNING,
    SIDECAR_STEADY,
    SIDECAR_TOKEN_WAY,
    BeginningRow,
    SteadyRow,
    TokenWayRow,
)
from benchmarks.sidecar.clients import CHATS
from benchmarks.sidecar.measures import Beginning, beginning, steady, token_way
from benchmarks.sidecar.rounds import Numbers, in_rounds, median_ratio
from benchmarks.sidecar.servers import Server, servers

PACE = 20
"""Milliseconds a token of a token's way."""
SLOW_PACE = 500
"""Milliseconds a token of answers whose beginning is measured: the second token does not disturb the first ones."""
WAY_TOKENS = 100
"""Tokens of an answer whose tokens' way is measured."""
SERVERS = ("direct", "pass-through", "sidecar")
WAYS = (*SERVERS, *CHATS)
MEASURES = ("steady", "beginning", "token-way")


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="One round of 2 seconds, 1 and 16 streams, 64 requests, no chats.")
@click.option(
    "--measure",
    "measures",
    multiple=True,
    type=click.Choice(MEASURES),
    help="Measure only this. Repeat for several.",
)
@click.option("--streams", type=Numbers(), default="1,16,64", show_default=True, help="Concurrent streams.")
@click.option("--requests", type=Numbers(), default="64,256", show_default=True, help="Requests that begin at once.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Of a steady run.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Rounds of each, ways in turn.")
@click.option("--log", "log_url", metavar="URL", help="The log. Default: SQLite in a scratch folder.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where the scratch folder is made.")
@click.option(
    "--option", "options", multiple=True, metavar="OPTION", help="More for `sidecar run`, such as --release-tick=20."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of results; made when new.")
def main(
    quick: bool,
    measures: tuple[str, ...],
    streams: list[int],
    requests: list[int],
    seconds: float,
    rounds: int,
    log_url: str | None,
    folder: Path | None,
    options: tuple[str, ...],
    out: Path | None,
) -> None:
    ways: Sequence[str] = WAYS
    if quick:
        ways, streams, requests, seconds, rounds = SERVERS, [1, 16], [64], 2.0, 1
    settings: dict[str, int | float | str | None] = {
        "rounds": rounds,
        "seconds": seconds,
        "database": "SQLite" if log_url is None else log_url.partition(":")[0],
        "options": " ".join(options),
        "pace_ms": PACE,
        "uvicorn": uvicorn.__version__,
        "aiohttp": aiohttp.__version__,
        "sqlalchemy": sqlalchemy.__version__,
    }
    with tempfile.TemporaryDirectory(dir=folder) as scratch, ExitStack() as stack:
        running = stack.enter_context(servers(Path(scratch), log_url, options))
        if not measures or "steady" in measures:
            rows = [row for number in streams for row in steady_rows(running, ways, number, seconds, rounds)]
            _give(SIDECAR_STEADY, "sidecar-steady", rows, settings, out)
        if not measures or "beginning" in measures:
            begun = [row for number in requests for row in beginning_rows(running, ways, number, rounds)]
            _give(SIDECAR_BEGINNING, "sidecar-beginning", begun, settings, out)
        if not measures or "token-way" in measures:
            under_way = [row for number in streams for row in token_way_rows(running, number, rounds)]
            _give(SIDECAR_TOKEN_WAY, "sidecar-token-way", under_way, settings, out)


def steady_rows(
    running: Mapping[str, Server], ways: Sequence[str], streams: int, seconds: float, rounds: int
) -> list[SteadyRow]:
    """The rows of one number of streams."""
    found = in_rounds(ways, rounds, lambda way: steady(_server(running, way), running["direct"], way, streams, seconds))

    def over(way: str, base: str) -> float:
        return median_ratio(found[way], found[base], lambda one: one.tokens_per_second)

    return [
        SteadyRow(
            way=way,
            streams=streams,
            tokens_per_second=median(one.tokens_per_second for one in found[way]),
            of_direct=over(way, "direct"),
            of_proxy=over(way, "pass-through"),
            processor_us=median(one.processor_us for one in found[way]),
        )
        for way in ways
    ]


def beginning_rows(
    running: Mapping[str, Server], ways: Sequence[str], requests: int, rounds: int
) -> list[BeginningRow]:
    """The rows of one number of requests."""
    found = in_rounds(ways, rounds, lambda way: beginning(_server(running, way), way, requests, SLOW_PACE))

    def first(share: float) -> Callable[[Beginning], float]:
        return lambda one: 1e3 * float(np.quantile(one.first_s, share))

    return [
        BeginningRow(
            way=way,
            requests=requests,
            first_p50_ms=median(map(first(0.5), found[way])),
            first_p99_ms=median(map(first(0.99), found[way])),
            p50_of_proxy=median_ratio(found[way], found["pass-through"], first(0.5)),
            p99_of_proxy=median_ratio(found[way], found["pass-through"], first(0.99)),
            processor_ms=median(one.processor_ms for one in found[way]),
        )
        for way in ways
    ]


def token_way_rows(running: Mapping[str, Server], streams: int, rounds: int) -> list[TokenWayRow]:
    """The rows of one number of streams. Chats are left out, since their events hold tokens that were held back."""

    def quantiles(way: str) -> tuple[float, float]:
        seconds = token_way(running[way], running["direct"], way, streams, WAY_TOKENS, PACE)
        p50, p99 = 1e3 * np.quantile(seconds, [0.5, 0.99])
        return float(p50), float(p99)

    found = in_rounds(SERVERS, rounds, quantiles)

    def added(way: str, at: int) -> float:
        return float(median(one[at] - base[at] for one, base in zip(found[way], found["direct"], strict=True)))

    return [
        TokenWayRow(
            way=way,
            streams=streams,
            p50_ms=median(p50 for p50, _ in found[way]),
            p99_ms=median(p99 for _, p99 in found[way]),
            added_p50_ms=added(way, 0),
            added_p99_ms=added(way, 1),
        )
        for way in SERVERS
    ]


def _server(running: Mapping[str, Server], way: str) -> Server:
    return running.get(way, running["sidecar"])


def _give(
    table: ResultsTable[Any], name: str, rows: Sequence[Any], settings: Mapping[str, Any], out: Path | None
) -> None:
    """Print a table, and write its files."""
    click.echo(f"\n{name}\n\n{table.markdown(rows)}")
    if out is not None:
        table.write(out, name, Results[Any].measured(rows, settings))


if __name__ == "__main__":
    main()
