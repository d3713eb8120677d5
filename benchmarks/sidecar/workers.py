"""Benchmark of worker processes: the sidecar, and a plain proxy with as many processes, by number of streams.

The three measures are those of `benchmarks.sidecar.cost`, of completions. *Steady*: tokens a second of endless answers,
from an upstream that draws as fast as it is read. *First token*: time to the first token of as many requests as
streams, sent at once on connections that are open. *Added*: time from the upstream's write to the client's read at 50
tokens a second and stream, without that of the direct way. Ways are measured in rounds, all in turn.

The upstream's processes (`--sources`) and the one client bound the throughput of every way, and need cores beside the
workers: more workers bring nothing on a machine without spare cores. The system spreads connections by chance, so that
with few streams one process may have most of them.

    python -m benchmarks.sidecar.workers [--workers 1,2] [--streams 16,64,256] [--seconds 10] [--rounds 1]
        [--sources 1] [--folder FOLDER] [--option OPTION]... [--out FOLDER]
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp
import click
import numpy as np
import sqlalchemy
import uvicorn

from benchmarks.free_port import free_port
from benchmarks.results.file import Results
from benchmarks.results.tables.workers import WORKERS, WorkersRow
from benchmarks.sidecar.cost import PACE, SLOW_PACE, WAY_TOKENS
from benchmarks.sidecar.measures import beginning, steady, token_way
from benchmarks.sidecar.rounds import Numbers, in_rounds, median_ratio
from benchmarks.sidecar.servers import ANSWER_TOKENS, Server, running, sidecar_command


@dataclass(frozen=True)
class Way:
    """A way to the upstream.

    Attributes:
        name: "direct", "pass-through" or "sidecar".
        processes: number of processes that answer requests.
    """

    name: str
    processes: int

    def __str__(self) -> str:
        return f"{self.name}-{self.processes}"


@dataclass(frozen=True)
class Measured:
    """One round of one way with one number of streams.

    Attributes:
        tokens_per_second: tokens a second of all streams together.
        processor_us: processor time of the way's server, microseconds a token.
        first_ms: median and 99th percentile of the time from request to first token, milliseconds.
        way_ms: median and 99th percentile of the time from the upstream's write to the client's read, milliseconds.
    """

    tokens_per_second: float
    processor_us: float
    first_ms: tuple[float, float]
    way_ms: tuple[float, float]


@click.command(help=__doc__)
@click.option(
    "--workers",
    type=Numbers(),
    default="1,2",
    show_default=True,
    help="Numbers of workers, and of the proxy's processes. 1 is always measured.",
)
@click.option("--streams", type=Numbers(), default="16,64,256", show_default=True, help="Concurrent streams.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Of a steady run.")
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True, help="Rounds of each, ways in turn.")
@click.option("--sources", type=click.IntRange(1), default=1, show_default=True, help="Processes of the upstream.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where the scratch folder is made.")
@click.option(
    "--option", "options", multiple=True, metavar="OPTION", help="More for `sidecar run`, such as --release-pace=4/943."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of results; made when new.")
def main(
    workers: list[int],
    streams: list[int],
    seconds: float,
    rounds: int,
    sources: int,
    folder: Path | None,
    options: tuple[str, ...],
    out: Path | None,
) -> None:
    direct, numbers = Way("direct", sources), sorted({1, *workers})
    ways = [direct, *(Way(name, number) for number in numbers for name in ("pass-through", "sidecar"))]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        commands = commands_of(ways, Path(scratch), options)
        with running(Path(scratch), commands) as servers:
            rows = [row for number in streams for row in worker_rows(servers, ways, number, seconds, rounds)]
    settings: dict[str, int | float | str | None] = {
        "rounds": rounds,
        "seconds": seconds,
        "database": "SQLite",
        "options": " ".join(options),
        "pace_ms": PACE,
        "uvicorn": uvicorn.__version__,
        "aiohttp": aiohttp.__version__,
        "sqlalchemy": sqlalchemy.__version__,
    }
    click.echo(WORKERS.markdown(rows))
    if out is not None:
        WORKERS.write(out, "workers", Results[WorkersRow].measured(rows, settings))


def commands_of(ways: Sequence[Way], scratch: Path, options: Sequence[str]) -> dict[str, tuple[int, list[str]]]:
    """Port, module and arguments of each way's server. Each sidecar has a log and keys of its own.

    Args:
        ways: the ways; the first is the direct one.
        scratch: a folder for the sidecars' logs and keys.
        options: more options of the sidecars.
    """
    ports = {way: free_port() for way in ways}
    url = f"http://127.0.0.1:{ports[ways[0]]}"

    def command(way: Way) -> list[str]:
        port, processes = ports[way], str(way.processes)
        if way.name == "direct":
            return ["benchmarks.sidecar.token_source", str(port), processes]
        if way.name == "pass-through":
            return ["benchmarks.sidecar.plain_proxy", str(port), url, processes]
        folder = scratch / str(way)
        folder.mkdir()
        given = [f"--max-model-len={ANSWER_TOKENS}", *options]
        given += [f"--workers={processes}"] if way.processes > 1 else []
        return sidecar_command(folder, url, port, *given)

    return {str(way): (ports[way], command(way)) for way in ways}


def worker_rows(
    servers: Mapping[str, Server], ways: Sequence[Way], streams: int, seconds: float, rounds: int
) -> list[WorkersRow]:
    """The rows of one number of streams.

    Args:
        servers: the servers by way.
        ways: the ways; the first is the direct one, and for each number of processes and for 1 there is a proxy.
        streams: number of streams, and of requests at once.
        seconds: seconds of a steady run.
        rounds: number of rounds.
    """
    direct = ways[0]

    def measured(way: Way) -> Measured:
        server, source = servers[str(way)], servers[str(direct)]
        throughput = steady(server, source, way.name, streams, seconds)
        begun = beginning(server, way.name, streams, SLOW_PACE).first_s
        under_way = token_way(server, source, way.name, streams, WAY_TOKENS, PACE)
        return Measured(
            throughput.tokens_per_second, throughput.processor_us, p50_and_p99_ms(begun), p50_and_p99_ms(under_way)
        )

    found = in_rounds(ways, rounds, measured)

    def of(way: Way, base: Way) -> float | None:
        return None if way == direct else median_ratio(found[way], found[base], lambda one: one.tokens_per_second)

    def added(way: Way, at: int) -> float:
        return median(one.way_ms[at] - base.way_ms[at] for one, base in zip(found[way], found[direct], strict=True))

    return [
        WorkersRow(
            way=way.name,
            processes=way.processes,
            streams=streams,
            tokens_per_second=median(one.tokens_per_second for one in found[way]),
            of_one=of(way, Way(way.name, 1)),
            of_proxy=of(way, Way("pass-through", way.processes)),
            processor_us=median(one.processor_us for one in found[way]),
            first_p50_ms=median(one.first_ms[0] for one in found[way]),
            first_p99_ms=median(one.first_ms[1] for one in found[way]),
            added_p50_ms=added(way, 0),
            added_p99_ms=added(way, 1),
        )
        for way in ways
    ]


def p50_and_p99_ms(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile of times in seconds, milliseconds."""
    p50, p99 = 1e3 * np.quantile(seconds, [0.5, 0.99])
    return float(p50), float(p99)


if __name__ == "__main__":
    main()
