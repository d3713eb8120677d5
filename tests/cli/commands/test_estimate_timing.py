"""The timing and the readiness in `verify estimate`: from a report, from options, or open."""

import json
from pathlib import Path

import pytest

from tests.cli.commands.test_run import invoke, run, write
from tests.cli.reports.test_timing import paced
from tests.recorded import GREEDY, records_of

DAY = ("estimate", "--output-tokens-per-day", 1e9, "--tokens-per-message", 300)


def terms(*arguments: str | Path | float) -> dict[str, dict[str, float]]:
    result = invoke(*DAY, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return {term["name"]: term for term in json.loads(result.stdout)["terms"]}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> dict[str, Path]:
    """Reports of answers that left at a pace, of answers of which one did, and of others."""
    folder = tmp_path_factory.mktemp("timing")
    plain = records_of(GREEDY)[:3]
    kinds = {
        "paced": [paced(record, 9 + at, at) for at, record in enumerate(plain)],
        "partly": [paced(plain[0], 9), *plain[1:]],
        "open": plain,
    }
    for name, records in kinds.items():
        traffic = write(folder / f"{name}.jsonl", records)
        result = run(traffic, model_folder, "--json", folder / f"{name}.json")
        assert result.exit_code == 0, result.output
    return {name: folder / f"{name}.json" for name in kinds}


def test_a_paced_report_has_the_timing(reports: dict[str, Path]) -> None:
    report = json.loads(reports["paced"].read_text())
    timing = terms("--report", reports["paced"])["timing"]
    assert timing["counted"]
    assert timing["bits_per_day"] == pytest.approx(1e9 * report["timing"]["bits_per_token"])
    said = invoke(*DAY, "--report", reports["paced"]).output
    assert "the report's charge for the release of all 3 answers" in said
    assert "OPEN" not in said


@pytest.mark.parametrize(("name", "said"), [("partly", "2 of 3 answers have none"), ("open", "3 of 3 answers have")])
def test_a_report_without_all_releases_leaves_the_timing_open(reports: dict[str, Path], name: str, said: str) -> None:
    assert not terms("--report", reports[name])["timing"]["counted"]
    found = invoke(*DAY, "--report", reports[name]).output
    assert said in found
    assert "OPEN, not in the sum" in found
    assert terms("--report", reports[name], "--timing-bits-per-token", 0.02)["timing"]["counted"]


def test_the_timing_of_options_is_counted() -> None:
    assert terms("--timing-bits-per-token", 0.02)["timing"] == {"name": "timing", "bits_per_day": 2e7, "counted": True}
    calm, usual, busy = (
        terms("--release-pace", "8/200", "--underrun-share", share)["timing"]["bits_per_day"] / 1e9
        for share in (0, 0.001, 0.1)
    )
    assert calm == pytest.approx(6.0224 / 300, rel=1e-4)
    assert usual == terms("--release-pace", "8/200")["timing"]["bits_per_day"] / 1e9
    assert calm < usual < 0.022 < busy


def test_each_sidecar_has_a_bit_of_readiness_a_period() -> None:
    assert terms()["readiness"]["bits_per_day"] == 8640
    assert terms("--sidecars", 3, "--ready-every", 60)["readiness"]["bits_per_day"] == 3 * 1440
    assert terms("--sidecars", 0)["readiness"]["bits_per_day"] == 0


def test_the_sum_of_all_channels_is_said_for_a_token() -> None:
    result = json.loads(invoke(*DAY, "--release-pace", "8/200", "--bits-per-token", 0.07, "--json").stdout)
    counted = sum(term["bits_per_day"] for term in result["terms"])
    assert result["all_bits_per_token"] == pytest.approx(counted / 1e9)
    line = next(
        line
        for line in invoke(*DAY, "--release-pace", "8/200", "--bits-per-token", 0.07).output.splitlines()
        if "all that are counted" in line
    )
    assert float(line.split()[4]) == pytest.approx(result["all_bits_per_token"], rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--release-pace", "8/200", "--tokens-per-tick", "3"], "give only one of"),
        (["--release-pace", "8"], "not TOKENS/MILLISECONDS"),
        (["--release-pace", "0/200"], "not TOKENS/MILLISECONDS"),
        (["--underrun-share", "0.1"], "requires --release-pace"),
        (["--release-pace", "8/200", "--underrun-share", "1"], "not in the range"),
        (["--timing-bits-per-token", "nan"], "not in the range"),
        (["--sidecars", "-1"], "not in the range"),
        (["--ready-every", "0"], "no number above 0"),
    ],
)
def test_options_that_make_no_sense_are_errors(arguments: list[str], message: str) -> None:
    result = invoke(*DAY, *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_report_with_a_timing_takes_no_other(reports: dict[str, Path]) -> None:
    result = invoke(*DAY, "--report", reports["paced"], "--release-pace", "8/200")
    assert result.exit_code == 2
    assert "the report has the timing" in result.output
