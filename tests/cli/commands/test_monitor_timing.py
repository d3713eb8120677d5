"""The timing of a series: the sum of what the records of each audit are charged, open where they say nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands.test_run import invoke, run, write
from tests.places import BUNDLED_POLICY
from tests.verifier.server.accounting.test_timing import bits_of, paced
from tests.verifier.server.running import honest

RECORDS = honest(18, 12)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> list[Path]:
    """Reports of two days at a pace, and of one without."""
    folder = tmp_path_factory.mktemp("days")
    made = []
    for day, records in enumerate((paced(RECORDS[:6]), paced(RECORDS[6:12]), RECORDS[12:])):
        made.append(folder / f"{day}.json")
        result = run(write(folder / f"{day}.jsonl", records), model_folder, "--json", made[-1])
        assert result.exit_code == 0, result.output
    return made


def timing(*arguments: str | Path) -> dict[str, Any]:
    result = invoke("monitor", "--policy", BUNDLED_POLICY, *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)["timing"]
    return found


def test_the_timing_of_all_audits_adds_up_between_calls_too(tmp_path: Path, reports: list[Path]) -> None:
    state = tmp_path / "state.json"
    first = timing("--state", state, reports[0])
    assert first["bits"] == pytest.approx(bits_of(paced(RECORDS[:6])))
    both = timing("--state", state, reports[1])
    assert both == timing(*reports[:2])
    assert both["bits"] == pytest.approx(first["bits"] + bits_of(paced(RECORDS[6:12])))
    assert (both["records"], both["open_records"]) == (12, 0)
    assert both["bits_per_token"] == pytest.approx(both["bits"] / both["tokens"])
    assert "all 12 answers" in both["statement"]


def test_the_timing_is_open_for_the_audits_that_say_nothing_of_it(reports: list[Path]) -> None:
    found = timing(*reports)
    assert (found["records"], found["open_records"]) == (12, 6)
    assert "open for the other 6" in found["statement"]
    none = timing(reports[2])
    assert (none["bits"], none["bits_per_token"]) == (0, None)
    assert "open" in none["statement"]
    shown = invoke("monitor", "--policy", BUNDLED_POLICY, *reports)
    assert found["statement"] in shown.output
