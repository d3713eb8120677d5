"""Ways with several processes: their servers share the requests, and rows compare like numbers of processes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import psutil
import pytest

from benchmarks.results.tables.workers import WORKERS
from benchmarks.sidecar import workers
from benchmarks.sidecar.measures import Beginning, Steady, beginning, steady, token_way
from benchmarks.sidecar.servers import Server, running
from benchmarks.sidecar.workers import Way, commands_of, worker_rows

DIRECT, PROXY_1, PROXY_2 = Way("direct", 1), Way("pass-through", 1), Way("pass-through", 2)
SIDECAR_1, SIDECAR_2 = Way("sidecar", 1), Way("sidecar", 2)
WAYS = [DIRECT, PROXY_1, SIDECAR_1, PROXY_2, SIDECAR_2]
SERVERS: Mapping[str, Server] = {str(way): Server(str(way), cast(psutil.Process, None)) for way in WAYS}
SPEEDS = {DIRECT: [10, 100], PROXY_1: [8, 60], SIDECAR_1: [4, 20], PROXY_2: [16, 80], SIDECAR_2: [6, 60]}
"""Tokens a second of each round."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """The source and the proxy before it, two processes each."""
    folder = tmp_path_factory.mktemp("pairs")
    with running(folder, commands_of([Way("direct", 2), PROXY_2], folder, [])) as servers:
        yield servers


@pytest.mark.parametrize("way", ["direct-2", "pass-through-2"])
def test_two_processes_are_measured_as_one_is(pairs: dict[str, Server], way: str) -> None:
    server, source = pairs[way], pairs["direct-2"]
    assert len(server.process.children()) == 2
    assert steady(server, source, way, 16, 0.1).tokens_per_second > 1000
    assert len(beginning(server, way, 16, 20).first_s) == 16
    under_way = token_way(server, source, way, 16, 20, 5)
    assert len(under_way) == 16 * 20
    assert min(under_way) > 0


@pytest.mark.parametrize("way", ["direct-2", "pass-through-2"])
def test_each_of_two_processes_has_a_part_of_the_streams(
    pairs: dict[str, Server], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering: dict[int, int] = {}
    port = int(pairs[way].url.rpartition(":")[2])

    def counted(server: Server) -> float:
        for process in server.process.children():
            answering[process.pid] = sum(
                one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED
                for one in process.net_connections("tcp")
            )
        return 1.0

    monkeypatch.setattr(Server, "processor_seconds", counted)
    monkeypatch.setattr(Server, "settle", lambda _: None)
    steady(pairs[way], pairs["direct-2"], way, 32, 0.1)  # counted while every stream gets tokens
    assert sum(answering.values()) == 32
    assert min(answering.values()) > 0  # else by chance: 2^-31


def test_no_process_is_left(tmp_path: Path) -> None:
    with running(tmp_path, commands_of([Way("direct", 2), PROXY_2], tmp_path, [])) as servers:
        children = [child for server in servers.values() for child in server.process.children()]
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert len(children) == 4


def test_a_sidecar_is_told_its_workers_and_has_a_log_of_its_own(tmp_path: Path) -> None:
    commands = commands_of(WAYS, tmp_path, ["--release-pace=4/943"])
    one, two = (commands[str(way)][1] for way in (SIDECAR_1, SIDECAR_2))
    assert "--workers=2" in two
    assert not any(argument.startswith("--workers") for argument in one)
    assert "--release-pace=4/943" in one
    assert one[one.index("--log") + 1] != two[two.index("--log") + 1]
    assert commands["pass-through-2"][1][-1] == "2"


def test_rows_compare_with_one_process_and_with_as_many_of_the_proxys(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {str(way): list(speeds) for way, speeds in SPEEDS.items()}
    way_s = {"direct-1": 0.001, "sidecar-2": 0.004}

    def way_measured(server: Server, source: Server, way: str, streams: int, tokens: int, pace: int) -> list[float]:
        assert (source.url, streams) == ("direct-1", 101)
        return [way_s.get(server.url, 0.002)]

    monkeypatch.setattr(workers, "steady", lambda server, *_: Steady(left[server.url].pop(0), 2.0))
    monkeypatch.setattr(workers, "beginning", lambda *_: Beginning([0.001 * at for at in range(101)], 1.0))
    monkeypatch.setattr(workers, "token_way", way_measured)
    rows = worker_rows(SERVERS, WAYS, 101, 10.0, 2)
    assert [(row.way, row.processes) for row in rows] == [(way.name, way.processes) for way in WAYS]
    direct, two = rows[0], rows[-1]
    assert (direct.of_one, direct.of_proxy, direct.added_p99_ms) == (None, None, 0)
    assert two.tokens_per_second == 33  # of 6 and 60
    assert two.of_one == pytest.approx((6 / 4 + 60 / 20) / 2)
    assert two.of_proxy == pytest.approx((6 / 16 + 60 / 80) / 2)
    assert (two.first_p50_ms, two.first_p99_ms) == pytest.approx((50, 99))
    assert (two.added_p50_ms, two.added_p99_ms) == pytest.approx((3, 3))
    assert WORKERS.line(two) == "| sidecar | 2 | 101 | 33 | 2.25 | 0.56 | 2.0 | 50 | 99 | 3.00 | 3.00 |"
