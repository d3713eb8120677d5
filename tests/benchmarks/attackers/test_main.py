"""The benchmark of attackers as a command: a table, resumed where it stopped, and never of mixed settings."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.attackers.__main__ import HONEST, main
from benchmarks.results.tables.attackers import ATTACKERS

pytestmark = pytest.mark.slow

SMALL = ("--records", "10", "--calibration", "16", "--tokens", "4")
PAYLOAD_DUMP = "payload dump"


@pytest.fixture(scope="module")
def out(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del model_folder  # the embedded model, written once
    folder = tmp_path_factory.mktemp("results")
    result = CliRunner().invoke(main, ["--out", str(folder), *SMALL, "--attacker", HONEST], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


def test_a_later_run_adds_rows_and_keeps_those_that_are_there(out: Path) -> None:
    honest = out / "rows" / "honest-server.json"
    before = honest.stat().st_mtime_ns, honest.read_bytes()
    result = CliRunner().invoke(main, ["--out", str(out), *SMALL, "--attacker", PAYLOAD_DUMP], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (honest.stat().st_mtime_ns, honest.read_bytes()) == before
    results = ATTACKERS.read(out / "attackers.json")
    rows = {row.attacker: row for row in results.rows}
    assert list(rows) == [HONEST, PAYLOAD_DUMP]
    assert rows[PAYLOAD_DUMP].decoded_bits
    assert rows[PAYLOAD_DUMP].bound_kept
    assert rows[PAYLOAD_DUMP].mismatch_share > 0.9
    assert results.settings.items() >= {"records": 10, "calibration": 16, "tokens": 4, "seed": 0}.items()
    assert {"python", "torch", "commit"} <= set(results.environment)
    for name in ("attackers.md", "bandwidth.png", "bandwidth.svg", "detection.png", "detection.svg"):
        assert (out / name).stat().st_size > 0
    table = (out / "attackers.md").read_text(encoding="utf-8")
    assert f"| {PAYLOAD_DUMP} |" in table
    assert "every bound kept" in result.output


def test_results_of_other_settings_do_not_mix(out: Path) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["--out", str(out), *SMALL, "--seed", "1"])
    assert result.exit_code == 2
    assert "other settings" in result.output
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_an_attacker_that_does_not_exist_is_an_error_that_names_those_that_do(out: Path) -> None:
    result = CliRunner().invoke(main, ["--out", str(out), *SMALL, "--attacker", "nobody"])
    assert result.exit_code == 2
    assert PAYLOAD_DUMP in result.output
