import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.edited_records.edits import ATTACKS
from tests.cli.commands.log.test_log import Logs
from tests.cli.commands.test_run import invoke, run, write
from tests.places import BUNDLED_POLICY, ROOT
from tests.recorded import FILTERED, records_of
from weightwarden.cli.reports.figures import catching
from weightwarden.logger.files.private import write_private
from weightwarden.verifier.audit_selection import AuditDraw, file_sha256, traffic_root
from weightwarden.verifier.scoring.ledger import MAX_END_BITS
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.statistics.total_limit import largest_ratio, stock_at

MONTH_DAYS = 365.25 / 12


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> dict[str, Path]:
    """Reports of honest audits, and of one in which every answer was replaced by a payload."""
    folder = tmp_path_factory.mktemp("reports")
    records = records_of(FILTERED)
    rng = np.random.default_rng(3)
    parts = {
        "monday": records[:6],
        "tuesday": records[6:12],
        "stolen": [ATTACKS["replaced answer"](record, 49152, rng) for record in records[12:18]],
    }
    for name, part in parts.items():
        result = run(write(folder / f"{name}.jsonl", part), model_folder, "--json", folder / f"{name}.json")
        assert result.exit_code == (1 if name == "stolen" else 0), result.output
    return {name: folder / f"{name}.json" for name in parts}


def loaded(*arguments: str | Path | float, expect: int = 0) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == expect, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# run


def key_that_leaves_out(index: int, traffic: Path, records: int, rate: float) -> bytes:
    """An audit key under which all records of a traffic file but one are audited."""
    root = traffic_root([file_sha256(traffic)])
    keys = (f"audit key {attempt:06}".encode() for attempt in range(10_000))
    wanted = [one != index for one in range(records)]
    return next(key for key in keys if [AuditDraw(rate, key).selects(root, one, 1) for one in range(records)] == wanted)


def tokens_of(report: dict[str, Any]) -> int:
    return int(report["verified_tokens"])


def test_a_run_shows_bounds_rates_and_what_they_assume(tmp_path: Path, model_folder: Path) -> None:
    records = records_of(FILTERED)[:12]
    lengths = [len(record.output_token_ids) for record in records]
    traffic, key = write(tmp_path / "t.jsonl", records), tmp_path / "key"
    write_private(key, key_that_leaves_out(lengths.index(min(lengths)), traffic, len(records), 0.9))
    result = run(
        traffic, model_folder, "--audit-rate", "0.9", "--audit-key", key, "--json", tmp_path / "r.json", "--html",
        tmp_path / "r.html",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    found = report["statistics"]
    counting, pooled = found["bits_per_token"]["counting"], found["bits_per_token"]["pooled"]
    assert 0.02 < pooled["audited"] < counting["audited"] < 0.3
    assert 0.01 < found["bits_per_token"]["honest_entropy"] < counting["audited"]
    assert pooled["audited"] < pooled["limit"] < found["log2_vocabulary"]
    assert pooled["limit_bits"] == pytest.approx(pooled["limit"] * found["total_tokens"])
    parts = pooled["rate"] * found["total_tokens"] + pooled["stock_bits"]
    assert pooled["limit_bits"] == pytest.approx(min(parts, pooled["limit_bits"]))
    assert found["records"]["probability"] == [0.9] * report["verified_records"]
    assert found["unaudited"] == {"tokens": [min(lengths)], "records": [1]}
    column = {name: np.array(values) for name, values in found["records"].items()}
    assert (column["pooled_bits"] + column["end_bits"]).sum() == pytest.approx(pooled["audited"] * tokens_of(report))
    assert (column["counting_bits"] + column["end_bits"]).sum() == pytest.approx(
        counting["audited"] * tokens_of(report)
    )
    mismatches, tokens = (sum(found["records"][name]) for name in ("mismatches", "tokens"))
    assert tokens == report["verified_tokens"]
    assert 0 < found["rates"]["mismatch"]["value"] == pytest.approx(mismatches / tokens)
    assert all(r["low"] <= r["value"] <= r["high"] for r in found["rates"].values())
    assert len(found["records"]["tokens"]) == report["verified_records"]
    page = (tmp_path / "r.html").read_text()
    for text in (result.output, page):
        for shown in ("counting bound", "pooled bound", "honest entropy", "mismatch", "99%", "confidence"):
            assert shown in text
        assert f"{pooled['audited']:.4f}" in text
        words = " ".join(text.replace("&#39;", "'").split())
        assert all(said in words for said in found["assumptions"])
        assert "For all 12 records of these traffic files, audited or not, with 99% confidence over the draw" in words
        assert "the bits of the audited ones, and all that the others can hold." in words
    estimated = ("estimate", "--output-tokens-per-day", 1e9, "--report", tmp_path / "r.json")
    bits = loaded(*estimated)
    assert bits["bits_per_token"] == pooled["rate"]
    priced = stock_at(largest_ratio(SamplingDesign(0.01), 4096, found["log2_vocabulary"], MAX_END_BITS), 0.99)
    assert bits["stock_bits_once"] == pytest.approx(priced)  # a series of long answers holds more than these dozen
    assert loaded(*estimated, "--audit-rate", 1)["stock_bits_once"] == pooled["stock_bits"]
    twice = loaded("estimate", "--output-tokens-per-day", 2e9, "--report", tmp_path / "r.json")
    assert twice["stock_bits_once"] == bits["stock_bits_once"]  # no traffic and no time multiplies it
    said = invoke(*estimated).output
    assert "not added: the report's limit is of all answers" in said
    assert "all records, audited or not, 99% confidence" in said
    assert "once, whatever the traffic: what a few unaudited answers can hold" in said
    enough = invoke(*estimated, "--weights", "1MB").output
    assert "what a few unaudited answers can hold is enough, in no less than" in enough


# estimate


def test_estimate_reproduces_the_figures_of_the_design() -> None:
    found = loaded("estimate", "--preset", "provider-2025-07", "--bits-per-token", 0.08)
    assert found["channel_bytes_per_day"] * MONTH_DAYS == pytest.approx(200e12)
    assert found["channel_bytes_per_day"] == pytest.approx(7e12, rel=0.1)
    assert found["gambled_messages_once"] == 458
    assert found["gambled_bits_once"] == 458 * 4096 * 16
    quiet = ("--early-stop-share", 0, "--refusal-share", 0)
    day = loaded("estimate", "--output-tokens-per-day", 5e11, "--bits-per-token", 16, *quiet)
    assert day["days_to_exfiltrate"] == pytest.approx(1, rel=1e-3)
    slow = loaded("estimate", "--output-tokens-per-day", 5e11, "--bits-per-token", 0.08, *quiet)
    assert slow["days_to_exfiltrate"] == pytest.approx(200, rel=1e-3)


def test_estimate_takes_its_bits_from_a_policy_or_a_report(reports: dict[str, Path]) -> None:
    tokens = ("estimate", "--output-tokens-per-day", 1e9)
    bundled, policy = loaded(*tokens), loaded(*tokens, "--policy", BUNDLED_POLICY)
    assert bundled["bits_per_token"] == policy["bits_per_token"] == pytest.approx(0.079, abs=0.005)
    report = json.loads(reports["monday"].read_text())
    audited_whole = loaded(*tokens, "--report", reports["monday"])
    assert audited_whole["bits_per_token"] == report["statistics"]["bits_per_token"]["pooled"]["limit"]
    assert audited_whole["stock_bits_once"] is None


def test_estimates_are_true_at_the_ends_of_their_ranges() -> None:
    tokens = ("estimate", "--output-tokens-per-day", 1e6, "--bits-per-token", 0)
    whole = invoke(*tokens, "--audit-rate", 1).output
    assert "at most 0 of up to 4,096 tokens, 0 B, once" in whole
    small = invoke(*tokens, "--weights", "1MB").output
    assert "what gambling carries (below) is enough, in no less than 12 hours" in small
    silent = invoke(*tokens, "--early-stop-share", 0, "--refusal-share", 0, "--sidecars", 0).output
    assert "the counted channels carry nothing" in silent
    sure = loaded(*tokens)["paces"][0]["log10_escape_probability"]
    assert -1e9 < sure < -1e5  # 122 million messages of 4,096 tokens: (1 - 0.01)^m, and not 0
    assert f"1e{np.floor(sure):.0f}" in invoke(*tokens).output
    rare = loaded(*tokens, "--audit-rate", 1e-300, "--power", 1e-3)
    assert rare["paces"][0]["mean_days_to_alarm"] > 1e290


def test_estimate_says_what_it_assumes_and_which_channel_is_open() -> None:
    result = invoke("estimate", "--preset", "provider-2025-05", "--sites", 3)
    assert result.exit_code == 0
    for shown in ("OPEN, not in the sum", "Assumes:", "changed: sites", "3 site(s)", "bundled policy", "never caught"):
        assert shown in result.output
    ticks = invoke("estimate", "--preset", "provider-2025-05", "--tokens-per-tick", 100)
    assert "OPEN" not in ticks.output
    assert json.loads(invoke("estimate", "--output-tokens-per-day", 1, "--bits-per-token", 0, "--json").stdout)


def test_the_readmes_own_estimates_and_plans_run() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    shown = [shlex.split(line)[1:] for line in lines if line.startswith(("verify estimate", "verify plan"))]
    assert len(shown) == 3
    for arguments in shown:
        if "--report" not in arguments:
            assert invoke(*arguments).exit_code == 0


def test_never_is_null_in_json() -> None:
    found = loaded(
        *("estimate", "--output-tokens-per-day", 1e9, "--bits-per-token", 0),
        *("--early-stop-share", 0, "--refusal-share", 0, "--sidecars", 0),
    )
    assert found["days_to_exfiltrate"] is None


def test_by_tokens_the_gamble_is_of_the_length_that_pays_best_for_its_risk() -> None:
    tokens = ("estimate", "--output-tokens-per-day", 1e9, "--bits-per-token", 0.01, "--audit-by", "tokens")
    found, by_records = loaded(*tokens), loaded(*tokens[:-2])
    assert 1200 < found["gambled_message_tokens"] < 1330
    assert found["gambled_bits_once"] < by_records["gambled_bits_once"] / 3.9
    assert found["gambled_bits_once"] == pytest.approx(1024 * np.log(100) / 0.01 * 16, rel=0.02)
    assert by_records["gambled_message_tokens"] == 4096
    shown = " ".join(invoke(*tokens).output.split())
    assert "of 1,016 tokens, and of others in proportion to their tokens, unforeseeable" in shown
    assert f"of {found['gambled_message_tokens']:,} tokens, the length that pays best for its risk, once" in shown
    assert found["paces"][0]["mean_days_to_alarm"] == pytest.approx(1024 / 4104 / 0.01 / 2)
    whole = " ".join(invoke(*tokens, "--audit-rate", 1).output.split())
    assert "0 of" not in whole  # short answers are gambled with, even at a rate of 1


# plan


def test_plan_finds_the_audit_rate_of_the_design_and_counts_what_is_read() -> None:
    found = loaded(
        "plan", "--output-tokens-per-day", 1e9, "--altered-messages", 459, "--verifier-throughput", 1000,
        "--output-share", 0.2,
    )  # fmt: skip
    assert found["audit_rate"] == pytest.approx(0.01, rel=0.01)
    cost = found["cost"]
    assert cost["prefill_per_output_token"] == pytest.approx(5)
    assert cost["output_tokens_per_second"] == pytest.approx(1e9 * found["audit_rate"] / 86_400)
    assert cost["prefill_tokens_per_second"] == pytest.approx(5 * cost["output_tokens_per_second"])
    assert cost["messages_per_second"] == pytest.approx(cost["output_tokens_per_second"] / 500)
    assert cost["verifiers"] == 1
    shown = invoke("plan", "--output-tokens-per-day", 1e9, "--stolen-bytes", "1MB").output
    assert "forward pass" in shown
    assert "Assumes:" in shown


def test_a_plan_catches_the_fewest_messages_that_carry_what_is_stolen() -> None:
    found = loaded("plan", "--preset", "provider-2025-07", "--stolen-bytes", "1GB")
    fewest = int(np.ceil(8e9 / (16 * 4096)))
    assert found["altered"] == fewest
    caught = np.random.default_rng(4).binomial(fewest, found["audit_rate"], 100_000) > 0
    assert abs(caught.mean() - 0.99) < 4 * (0.01 / 100_000) ** 0.5 + 1e-5
    by_tokens = loaded("plan", "--preset", "provider-2025-07", "--stolen-bytes", "1GB", "--audit-by", "tokens")
    assert by_tokens["altered"] == fewest
    assert by_tokens["audit_rate"] == pytest.approx(found["audit_rate"] / 4, rel=0.01)
    cost = by_tokens["cost"]
    assert cost["messages_per_second"] == pytest.approx(found["cost"]["messages_per_second"] * 508 / 4096, rel=0.01)
    assert cost["output_tokens_per_second"] == pytest.approx(found["cost"]["output_tokens_per_second"] / 4.07, rel=0.01)
    short = loaded("plan", "--preset", "provider-2025-07", "--stolen-bytes", "1GB", "--length-limit", 500)
    assert short["altered"] == 1_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["estimate"], "the traffic is missing"),
        (["estimate", "--output-tokens-per-day", "-3"], "no number above 0"),
        (["estimate", "--output-tokens-per-day", "nan"], "no number above 0"),
        (["estimate", "--preset", "provider-2025-05", "--weights", "big"], "no size"),
        (["estimate", "--preset", "provider-2025-05", "--weights", "1XB"], "no size"),
        (["estimate", "--preset", "provider-2025-05", "--report", "r", "--policy", "p"], "only one of"),
        (["estimate", "--preset", "provider-2025-05", "--report", "missing.json"], "missing.json: cannot be read"),
        (["plan", "--preset", "provider-2025-05"], "exactly one budget"),
        (["plan", "--output-tokens-per-day", "1e9", "--altered-messages", "3", "--power", "0.1"], "no audit rate"),
        (["estimate", "--preset", "provider-2025-05", "--bits-per-token", "nan"], "not in the range"),
        (["estimate", "--preset", "provider-2025-05", "--bits-per-token", "inf"], "not in the range"),
        (["estimate", "--preset", "provider-2025-05", "--bits-per-token", "17"], "more than log2"),
        (["estimate", "--preset", "provider-2025-05", "--sites", "1" + 400 * "0"], "not in the range"),
        (["plan", "--output-tokens-per-day", "1e6", "--stolen-bytes", "1TB"], "days of traffic"),
        (
            ["plan", "--output-tokens-per-day", "1e6", "--stolen-bytes", "1MB", "--length-limit", "9"],
            "more than --length",
        ),
        (["monitor", "r.json", "--policy", str(BUNDLED_POLICY), "--alarm-level", "nan"], "not in the range"),
        (["monitor", "missing.json", "--policy", str(BUNDLED_POLICY)], "missing.json: cannot be read"),
        (["monitor", "a.json", "--policy", str(BUNDLED_POLICY), "--audit-rate", "0.1"], "require each other"),
    ],
)
def test_what_makes_no_sense_is_an_error(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output


# monitor


def test_a_series_is_clear_until_it_is_not_and_stays_an_alarm(tmp_path: Path, reports: dict[str, Path]) -> None:
    monitor = ("monitor", "--policy", BUNDLED_POLICY, "--state", tmp_path / "state.json")
    for day in ("monday", "tuesday"):
        found = loaded(*monitor, reports[day])
        assert found["verdict"] == "clear"
    assert found["audits_in_all"] == 2
    found = loaded(*monitor, reports["stolen"], expect=1)
    assert found["verdict"] == "alarm"
    assert found["p_value"] < 1e-4
    fresh = json.loads(reports["monday"].read_text()) | {"audit_digest": "0" * 64}
    (tmp_path / "wednesday.json").write_text(json.dumps(fresh))
    assert invoke(*monitor, tmp_path / "wednesday.json").exit_code == 1


def test_a_state_and_one_call_come_to_the_same(tmp_path: Path, reports: dict[str, Path]) -> None:
    days = [reports[day] for day in ("monday", "tuesday", "stolen")]
    whole = loaded("monitor", "--policy", BUNDLED_POLICY, *days, expect=1)
    for day in days:
        invoke("monitor", "--policy", BUNDLED_POLICY, "--state", tmp_path / "state.json", day)
    state = json.loads((tmp_path / "state.json").read_text())
    assert np.exp(-state["log_best"]) == pytest.approx(whole["p_value"])


def test_the_same_audit_with_other_white_space_is_the_same_audit(tmp_path: Path, reports: dict[str, Path]) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(reports["monday"].read_text() + "\n")
    result = invoke("monitor", "--policy", BUNDLED_POLICY, reports["monday"], copy)
    assert result.exit_code == 2
    assert "is in the series already" in result.output


def test_a_report_that_was_an_alarm_says_so(tmp_path: Path, reports: dict[str, Path]) -> None:
    result = invoke("monitor", "--policy", BUNDLED_POLICY, reports["stolen"])
    assert "its own verdict: ALARM" in result.output
    shown = invoke("estimate", "--output-tokens-per-day", 1e9, "--report", reports["stolen"]).output
    assert "ITS VERDICT IS ALARM" in shown
    report = json.loads(reports["stolen"].read_text())
    report["statistics"]["longest_record_tokens"] = 10**6  # weighs nothing: the weight is the operator's to say
    (tmp_path / "long.json").write_text(json.dumps(report))
    assert invoke("monitor", "--policy", BUNDLED_POLICY, tmp_path / "long.json").exit_code == 1


def test_a_state_with_higher_honest_rates_than_the_policy_is_refused(tmp_path: Path, reports: dict[str, Path]) -> None:
    state = tmp_path / "state.json"
    invoke("monitor", "--policy", BUNDLED_POLICY, "--state", state, reports["monday"])
    edited = json.loads(state.read_text())
    edited["monitors"]["dangerous"]["honest_rate"] = 0.9
    state.write_text(json.dumps(edited))
    result = invoke("monitor", "--policy", BUNDLED_POLICY, "--state", state, reports["tuesday"])
    assert result.exit_code == 2
    assert "the policy's is lower" in result.output


def test_a_report_twice_or_under_another_policy_is_refused_and_the_state_is_as_it_was(
    tmp_path: Path, reports: dict[str, Path]
) -> None:
    state = tmp_path / "state.json"
    assert invoke("monitor", "--policy", BUNDLED_POLICY, "--state", state, reports["monday"]).exit_code == 0
    before = state.read_bytes()
    again = invoke("monitor", "--policy", BUNDLED_POLICY, "--state", state, reports["tuesday"], reports["monday"])
    assert again.exit_code == 2
    assert "is in the series already" in again.output
    other = json.loads(reports["tuesday"].read_text()) | {"policy_digest": "sha256:" + "0" * 64}
    (tmp_path / "other.json").write_text(json.dumps(other))
    refused = invoke("monitor", "--policy", BUNDLED_POLICY, "--state", state, tmp_path / "other.json")
    assert refused.exit_code == 2
    assert "another policy" in refused.output
    assert state.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda report: report.pop("statistics"), "statistics: missing"),
        (lambda report: report["statistics"]["records"]["tokens"].append(3), "different lengths"),
        (lambda report: report["statistics"]["records"]["dangerous"].__setitem__(0, 10**9), "more than there are"),
        (lambda report: report["statistics"]["records"]["pooled_bits"].__setitem__(0, -1.0), "pooled_bits"),
        (lambda report: report.update(format="weightwarden-report/9"), "format"),
    ],
)
def test_a_report_that_was_edited_is_an_error_that_names_the_field(
    tmp_path: Path, reports: dict[str, Path], change: Any, message: str
) -> None:
    report = json.loads(reports["monday"].read_text())
    change(report)
    (tmp_path / "r.json").write_text(json.dumps(report))
    result = invoke("monitor", "--policy", BUNDLED_POLICY, tmp_path / "r.json")
    assert result.exit_code == 2
    assert "r.json: " in result.output
    assert message in result.output


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"format": "weightwarden-monitor/2"}'])
def test_a_broken_state_is_an_error_and_stays_as_it_is(
    tmp_path: Path, reports: dict[str, Path], content: bytes
) -> None:
    state = tmp_path / "state.json"
    state.write_bytes(content)
    result = invoke("monitor", "--policy", BUNDLED_POLICY, "--state", state, reports["monday"])
    assert result.exit_code == 2
    assert "state.json" in result.output
    assert state.read_bytes() == content


def test_a_state_and_a_report_of_an_earlier_version_are_refused_by_their_format(
    tmp_path: Path, reports: dict[str, Path]
) -> None:
    state, report = tmp_path / "state.json", tmp_path / "report.json"
    state.write_text('{"format": "weightwarden-monitor/1", "monitors": {}}')
    report.write_text(json.dumps(json.loads(reports["monday"].read_text()) | {"format": "weightwarden-report/2"}))
    for given, said in (
        (("--state", state, reports["monday"]), "state.json: format: a state of another version (weightwarden-monitor"),
        ((report,), "report.json: format: a report of another version (weightwarden-report/2"),
    ):
        refused = invoke("monitor", "--policy", BUNDLED_POLICY, *given)
        assert refused.exit_code == 2
        assert said in refused.output


def test_archives_are_replayed_one_after_the_other(tmp_path: Path, model_folder: Path) -> None:
    logs = Logs(tmp_path)
    for _ in range(2):
        logs.append(4)
        logs.seal()
    monitor = ("monitor", "--policy", BUNDLED_POLICY, "--public-key", logs.public, "--model", model_folder)
    state = ("--state", tmp_path / "state.json")
    found = loaded(*monitor, *state, logs.archives)
    assert [audit["records"] for audit in found["audits"]] == [4, 4]
    assert found["verdict"] == "clear"
    again = invoke(*monitor, *state, logs.archives)
    assert again.exit_code == 2
    assert "is in the series already" in again.output


# reports


@pytest.mark.parametrize(
    ("rate", "records", "said"),
    [
        (1.0, 5, "an altered record is audited with probability 0.99 or more"),
        (0.01, 459, "one of 459 altered records is audited with probability 0.99 or more"),
        (0.01, 458, "458 altered records, all of them, would have one audited with probability 0.990 only"),
        (0.01, 1, "1 altered records, all of them, would have one audited with probability 0.010 only"),
    ],
)
def test_a_report_says_of_its_audit_what_is_true_of_so_many_records(rate: float, records: int, said: str) -> None:
    assert said in catching(SamplingDesign(rate), records, 100 * records)


@pytest.mark.parametrize(
    ("rate", "records", "said"),
    [
        (
            0.01,
            10_000,
            "altered records of 471,570 output tokens together, however long each is, have one",
        ),
        (0.01, 4715, "4715 altered records, all of them, would have one audited with probability 0.993 or more"),
        (1e-6, 1, "1 altered records, all of them, would have one audited with probability 0.000 or more"),
        (1.0, 50, "altered records of 4,716 output tokens together"),
    ],
)
def test_a_report_says_of_its_audit_by_tokens_what_is_true_of_all_lengths(rate: float, records: int, said: str) -> None:
    design = SamplingDesign(rate, "tokens")
    assert said in catching(design, records, 100 * records)
    if (needed := re.search(r"of ([\d,]+) output tokens", said)) is not None:
        tokens = int(needed[1].replace(",", ""))
        for length in (1, 7, 500, 5000, tokens):
            with np.errstate(divide="ignore"):
                missed = np.log1p(-design.probability(length)) * (tokens / length)
            assert missed <= np.log(0.01) * (1 - 1e-9)
