from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from benchmarks.results.tables.gpu import GPU
from benchmarks.throughput import gpu
from benchmarks.throughput.device.random_model import SHAPES


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "tiny", replace(SHAPES["tiny"], vocabulary=701))
    load = replace(gpu.LOADS["tiny"], records=4, prompt=3, output=6, token_budget=16, decoded=3, rounds=1)
    monkeypatch.setitem(gpu.LOADS, "tiny", load)


@pytest.mark.usefixtures("_small")
def test_the_benchmark_draws_traffic_that_replays_and_measures_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(gpu.main, ["--device", "cpu", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    results = GPU.read(tmp_path / "gpu.json")
    assert [row.drawn_with for row in results.rows] == ["top-p 0.95, top-k 50", "unfiltered", "top-p 0.95"]
    assert all(row.vocabulary_tokens == 701 for row in results.rows)
    details = results.details
    assert isinstance(details, dict)
    for row in results.rows:
        r: Any = details[f"tiny, {row.drawn_with}"]
        assert row.tables_of_bare == r["seconds"]["bare"] / r["seconds"]["tables"]
        assert r["facts"]["exact_share"] > 0.8
        assert set(r["seconds"]) == {"bare", "tables", "verdicts"}
        assert all(found["positions"] > 0 for found in r["disagreements"].values())
    assert "| tiny | 701 |" in (tmp_path / "gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_measures_nothing() -> None:
    result = CliRunner().invoke(gpu.main, [])
    assert result.exit_code == 0
    assert "no GPU here" in result.output
