"""The tables of the sidecar's cost: medians over rounds, ratios within a round."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import psutil
import pytest
from click.testing import CliRunner

from benchmarks.sidecar import cost
from benchmarks.sidecar.cost import SERVERS, beginning_rows, main, steady_rows, token_way_rows
from benchmarks.sidecar.measures import Beginning, Steady
from benchmarks.sidecar.servers import Server

RUNNING: Mapping[str, Server] = {name: Server(name, cast(psutil.Process, None)) for name in SERVERS}


def test_ratios_are_of_one_round_and_a_chat_goes_through_the_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    speeds = {"direct": [100.0, 10.0, 1000.0], "pass-through": [50.0, 5.0, 500.0], "chat": [25.0, 2.0, 125.0]}

    def measured(server: Server, source: Server, way: str, streams: int, seconds: float) -> Steady:
        asked.append((server.url, way))
        return Steady(speeds[way].pop(0), 2.0)

    monkeypatch.setattr(cost, "steady", measured)
    rows = {row.way: row for row in steady_rows(RUNNING, ["direct", "pass-through", "chat"], 4, 1.0, 3)}
    assert asked == [("direct", "direct"), ("pass-through", "pass-through"), ("sidecar", "chat")] * 3
    assert (rows["chat"].tokens_per_second, rows["chat"].of_direct, rows["chat"].of_proxy) == (25.0, 0.2, 0.4)


def test_first_tokens_are_compared_with_the_proxys(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(server: Server, way: str, requests: int, pace: int) -> Beginning:
        of = 0.003 if way == "sidecar" else 0.001
        return Beginning([of * at for at in range(101)], 1.0)

    monkeypatch.setattr(cost, "beginning", measured)
    row = beginning_rows(RUNNING, SERVERS, 101, 1)[-1]
    assert (row.way, row.requests) == ("sidecar", 101)
    assert (row.first_p50_ms, row.first_p99_ms) == pytest.approx((150, 297))
    assert (row.p50_of_proxy, row.p99_of_proxy) == pytest.approx((3, 3))


def test_what_a_way_adds_is_its_difference_to_the_direct_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cost, "token_way", lambda server, *_: [{"direct": 0.001, "pass-through": 0.002}.get(server.url, 0.005)]
    )
    row = token_way_rows(RUNNING, 1, 1)[-1]
    assert (row.p50_ms, row.added_p50_ms, row.added_p99_ms) == pytest.approx((5, 4, 4))


@pytest.mark.parametrize("given", ["1,none", "0", "4,-1", ""])
def test_numbers_that_are_none_are_refused(given: str, tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["--streams", given, "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2
    assert f"{given!r} is not numbers from 1 on" in refused.output
