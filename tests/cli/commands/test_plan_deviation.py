"""`verify plan --deviation`: the price of a verdict by effect sizes, packaged and of one's own."""

import json
from math import log
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands.test_run import invoke
from weightwarden.cli.options.effect_sizes import FORMAT, read_effect_sizes


def loaded(*arguments: str | Path | float) -> dict[str, Any]:
    result = invoke("plan", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def sizes_file(folder: Path, **changes: Any) -> Path:
    """Effect sizes of a kind with two rates, and of one without any."""
    growth = {"bet": "a", "log_share": -log(8), "nats_per_record": 2.0, "variance_per_record": 1.0}
    deviation = {"tokens": 10_000, "records": 100, "nats_per_token": 0.04}
    content = {
        "format": FORMAT,
        "model": "mine",
        "policy": "sha256:" + "0" * 64,
        "prompt_tokens_per_output_token": 0.5,
        "environment": {},
        "command": "",
        "settings": {},
        "deviations": [
            deviation | {"deviation": "substitution", "rate": 0.1, "growths": [growth]},
            deviation | {"deviation": "substitution", "rate": 0.001, "growths": [growth | {"nats_per_record": 0.1}]},
            deviation | {"deviation": "int8", "rate": None, "growths": []},
        ],
    } | changes
    path = folder / "sizes.json"
    path.write_text(json.dumps(content))
    return path


def test_the_packaged_effect_sizes_price_every_deviation() -> None:
    for of in read_effect_sizes(None).deviations:
        name = of.deviation if of.rate is None else f"{of.deviation}:{of.rate:g}"
        found = loaded("--deviation", name)
        assert found["deviation"] == name
        assert found["optimum_tokens"] == pytest.approx(log(1e4) / of.nats_per_token)
        if of.growths:
            assert found["audited_tokens"] >= of.tokens / of.records
        for field in ("verifier_seconds", "days", "traffic"):
            assert found[field] is None


def test_the_price_counts_prompts_seconds_and_days(tmp_path: Path) -> None:
    sizes = ("--effect-sizes", sizes_file(tmp_path))
    found = loaded("--deviation", "substitution:0.1", *sizes, "--verifier-throughput", 100)
    assert found["audited_tokens"] % 100 == 0
    assert found["tokens_read"] == pytest.approx(1.5 * found["audited_tokens"])
    assert found["verifier_seconds"] == pytest.approx(found["tokens_read"] / 100)
    shared = loaded("--deviation", "substitution:0.1", *sizes, "--output-share", 0.1)
    assert shared["tokens_read"] == pytest.approx(10 * found["audited_tokens"])
    daily = loaded("--deviation", "substitution:0.1", *sizes, "--output-tokens-per-day", 1e6, "--audit-rate", 0.01)
    assert daily["days"] == pytest.approx(found["audited_tokens"] / 1e4)
    shown = invoke("plan", "--deviation", "substitution:0.1", *sizes, "--verifier-throughput", 1)
    for text in (f"{found['audited_tokens']:,.0f}", "until the alarm, with 99% confidence", "Assumes:", "100 answers"):
        assert text in shown.output


def test_more_confidence_and_a_stricter_level_cost_more(tmp_path: Path) -> None:
    sizes = ("--deviation", "substitution:0.001", "--effect-sizes", sizes_file(tmp_path))
    assert loaded(*sizes)["audited_tokens"] > loaded(*sizes, "--confidence", 0.75)["audited_tokens"]
    assert loaded(*sizes, "--alarm-level", 1e-9)["audited_tokens"] > loaded(*sizes)["audited_tokens"]


def test_between_measured_rates_the_price_says_so(tmp_path: Path) -> None:
    sizes = ("--effect-sizes", sizes_file(tmp_path))
    low, middle, high = (loaded("--deviation", f"substitution:{rate}", *sizes) for rate in (0.1, 0.01, 0.001))
    assert low["audited_tokens"] < middle["audited_tokens"] < high["audited_tokens"]
    assert any("between the rates 0.001 and 0.1" in said for said in middle["assumptions"])
    assert not any("between the rates" in said for said in low["assumptions"])


def test_a_deviation_on_which_no_bet_grows_is_never_seen(tmp_path: Path) -> None:
    arguments = ("--deviation", "int8", "--effect-sizes", sizes_file(tmp_path), "--verifier-throughput", 10)
    assert loaded(*arguments)["audited_tokens"] is None
    assert invoke("plan", *arguments).output.count("never") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--deviation", "fp4"], "'fp4' was not measured; known: "),
        (["--deviation", "substitution:0.5"], "substitution:0.5: measured from"),
        (["--deviation", "int8:3"], "int8 has no rate"),
        (["--deviation", "substitution:x"], "'x' is no number above 0"),
        (["--deviation", "int8", "--altered-messages", "3"], "--altered-messages says nothing about a --deviation"),
        (["--deviation", "int8", "--power", "0.9"], "--power says nothing about a --deviation"),
        (["--deviation", "int8", "--audit-rate", "0.1"], "give both, or neither"),
        (["--deviation", "int8", "--output-tokens-per-day", "1e9"], "give both, or neither"),
        (["--audit-rate", "0.1", "--output-tokens-per-day", "1e9"], "--audit-rate needs --deviation"),
        (["--deviation", "int8", "--effect-sizes", "missing.json"], "missing.json: cannot be read"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str], message: str) -> None:
    result = invoke("plan", *arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": "other/1"}, "format"),
        ({"deviations": []}, "deviations"),
        ({"extra": 1}, "extra"),
        ({"prompt_tokens_per_output_token": -1}, "prompt_tokens_per_output_token"),
    ],
)
def test_a_wrong_file_is_refused_with_its_field(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    path = sizes_file(tmp_path, **changes)
    result = invoke("plan", "--deviation", "int8", "--effect-sizes", path)
    assert result.exit_code == 2
    assert f"{path}: {field}" in result.output
