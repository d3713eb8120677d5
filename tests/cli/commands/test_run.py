import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.edited_records.edits import ATTACKS
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, GREEDY, VARIED, records_of
from weightwarden.cli.main import verify
from weightwarden.cli.reports.consistency import faults
from weightwarden.cli.reports.contents import Report
from weightwarden.logger.files.private import write_private
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy

REPORT_KEYS = {
    "verified_records",
    "verified_tokens",
    "safe",
    "suspicious",
    "dangerous",
    "early_stops",
    "unanswered",
    "charged_bits_per_token",
    "charged_fraction",
    "verdict",
    "flagged",
    "seconds",
    "tokens_per_second",
    "model_digest",
    "policy_digest",
}


def invoke(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(verify, [str(argument) for argument in arguments])


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records))
    return path


def run(traffic: Path, model: Path, *more: str | Path) -> Result:
    return invoke("run", traffic, "--model", model, "--policy", BUNDLED_POLICY, "--unsafe-unsigned", *more)


def test_honest_traffic_is_clear_and_the_report_is_whole(tmp_path: Path, model_folder: Path) -> None:
    honest = write(tmp_path / "honest.jsonl", records_of(GREEDY)[:4] + records_of(FILTERED)[:4])
    result = run(honest, model_folder, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert result.exit_code == 0, result.output
    assert "Verdict: CLEAR" in result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report.keys() >= REPORT_KEYS
    assert report["verified_records"] == 8
    assert report["verdict"] == "clear"
    assert report["flagged"] == []
    assert report["safe"] + report["suspicious"] + report["dangerous"] == report["verified_tokens"]
    assert set(report["seconds"]) == {"forward", "score", "total"}
    page = (tmp_path / "r.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_server_of_several_that_differs_stands_out_in_the_reports(tmp_path: Path, model_folder: Path) -> None:
    names = ["gpu-1", "gpu-2", None]
    records = [one.model_copy(update={"replica": names[at % 3]}) for at, one in enumerate(records_of(FILTERED)[:6])]
    for at in (1, 4):
        records[at] = ATTACKS["ten scattered payload tokens"](records[at], 49152, np.random.default_rng(at))
    paths = ("--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    result = run(write(tmp_path / "t.jsonl", records), model_folder, *map(str, paths))
    report = json.loads((tmp_path / "r.json").read_text())
    good, bad = report["replicas"]
    assert (good["replica"], good["records"], good["flagged"], good["dangerous"]) == ("gpu-1", 2, 0, 0)
    assert (bad["replica"], bad["records"], bad["flagged"]) == ("gpu-2", 2, len(report["flagged"]))
    assert bad["tokens"] == sum(len(records[at].output_token_ids) for at in (1, 4))
    assert bad["mismatches"] > good["mismatches"]
    assert f"gpu-2: 2 records, {bad['tokens']} tokens" in result.output
    assert "answered by gpu-2" in (tmp_path / "r.html").read_text()
    forged = report | {"replicas": [good, {**bad, "flagged": len(report["flagged"]) + 1}]}
    assert faults(Report.model_validate_json(json.dumps(report))) == []
    assert [said[:9] for said in faults(Report.model_validate_json(json.dumps(forged)))] == ["replicas:"]


def test_forged_counts_by_adapter_are_found(tmp_path: Path, model_folder: Path) -> None:
    honest = write(tmp_path / "t.jsonl", records_of(GREEDY)[:1])
    run(honest, model_folder, "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["adapters"] == []
    counts = {"records": 1, "tokens": 1, "mismatches": 0, "dangerous": 0, "flagged": 0}
    adapter = {"adapter": "poet", "digest": f"sha256:{'0' * 64}", **counts}
    other = {**adapter, "digest": f"sha256:{'1' * 64}", "records": 0}

    def said(*adapters: dict[str, Any]) -> list[str]:
        return faults(Report.model_validate_json(json.dumps(report | {"adapters": adapters})))

    assert said(adapter, other) == []
    assert said({**adapter, "tokens": 10_000})[0].startswith("adapters: tokens of all adapters together")
    assert "adapters: an adapter is named twice" in said(adapter, {**adapter, "records": 0, "tokens": 0})


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_tampered_record_among_honest_ones_is_an_alarm_that_names_it(
    tmp_path: Path, model_folder: Path, attack: str
) -> None:
    records = records_of(FILTERED)[10:14]
    records[2] = ATTACKS[attack](records[2], 49152, np.random.default_rng(1))
    result = run(write(tmp_path / "t.jsonl", records), model_folder, "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [flag["record"] for flag in report["flagged"]] == [2]
    assert report["flagged"][0]["reasons"]
    # A forged end is one token: an honest end may be so once in a thousand answers, so it flags and does not alarm.
    assert result.exit_code == (0 if attack == "forged end" else 1)
    assert report["verdict"] == ("clear" if attack == "forged end" else "alarm")


def test_sampled_records_keep_their_place_in_the_whole_input(tmp_path: Path, model_folder: Path) -> None:
    records = [
        ATTACKS["cut short"](r, 49152, np.random.default_rng(i)) for i, r in enumerate(records_of(FILTERED)[:20])
    ]
    key = tmp_path / "key"
    write_private(key, b"0123456789abcdef")
    traffic = write(tmp_path / "t.jsonl", records)
    result = run(traffic, model_folder, "--audit-rate", "0.3", "--audit-key", key, "--json", "-")
    report = json.loads(result.stdout)
    assert 0 < report["verified_records"] < report["total_records"] == 20
    assert [flag["record"] for flag in report["flagged"]] == [flag["line"] - 1 for flag in report["flagged"]]
    assert "0123456789abcdef" not in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_token_ids": [49152]}, "output_token_ids: token id 49152 is outside the vocabulary"),
        ({"prompt_token_ids": [5] * 8192}, "the model's context 8192"),
        ({"engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-v2"}}, "made for scheme vllm-cpu"),
        ({"engine": {"name": "vllm", "version": "0.31.0", "sampler": "vllm-cpu"}}, "made for engine vllm 0.32.0"),
    ],
)
def test_a_record_that_does_not_fit_model_or_policy_is_an_error_that_names_its_line(
    tmp_path: Path, model_folder: Path, change: dict[str, Any], message: str
) -> None:
    good = records_of(FILTERED)[0]
    bad = type(good).model_validate({**good.model_dump(), **change})
    result = run(write(tmp_path / "t.jsonl", [good, bad]), model_folder, "--json", tmp_path / "r.json")
    assert result.exit_code == 2
    assert "t.jsonl:2" in result.output
    assert message in result.output
    assert not (tmp_path / "r.json").exists()


def test_a_policy_for_another_dtype_or_model_is_refused(
    tmp_path: Path, model_folder: Path, bundled_policy: Policy
) -> None:
    assert run(FILTERED, model_folder, "--dtype", "bfloat16").exit_code == 2
    made_for = bundled_policy.made_for.model_copy(update={"model_digest": "sha256:" + "0" * 64})
    other = tmp_path / "other.toml"
    other.write_text(bundled_policy.model_copy(update={"made_for": made_for}).to_toml())
    result = invoke("run", FILTERED, "--model", model_folder, "--policy", other, "--unsafe-unsigned")
    assert result.exit_code == 2
    assert "made for model" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", str(FILTERED), "--policy", str(BUNDLED_POLICY)],
        ["run", "missing.jsonl", "--policy", str(BUNDLED_POLICY), "--unsafe-unsigned"],
        ["run", str(FILTERED), "--policy", "missing.toml", "--unsafe-unsigned"],
        ["run", str(FILTERED), "--policy", str(BUNDLED_POLICY), "--unsafe-unsigned", "--audit-rate", "0.5"],
        ["run", str(FILTERED), "--policy", str(BUNDLED_POLICY), "--unsafe-unsigned", "--model", "/nowhere"],
        ["run", str(FILTERED), "--policy", str(BUNDLED_POLICY), "--unsafe-unsigned", "--json", "/nowhere/r.json"],
        ["calibrate", "missing.jsonl", "--out", "p.toml"],
        ["calibrate", str(FILTERED), "--out", "/nowhere/p.toml"],
        ["model", str(Path(__file__).parent)],
        ["nonsense"],
    ],
)
def test_misuse_exits_with_2_and_says_why(arguments: list[str]) -> None:
    result = CliRunner().invoke(verify, arguments)
    assert result.exit_code == 2
    assert "Error" in result.output


def test_a_defect_is_never_mistaken_for_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> Policy:
        raise RuntimeError("defect")

    monkeypatch.setattr("weightwarden.cli.commands.run.read_policy", broken)
    result = invoke("run", FILTERED, "--policy", BUNDLED_POLICY, "--unsafe-unsigned")
    assert result.exit_code == 2
    assert "internal error" in result.output


def test_calibrate_writes_a_policy_that_run_accepts(tmp_path: Path, model_folder: Path) -> None:
    traffic = write(tmp_path / "t.jsonl", records_of(VARIED)[:40])
    result = invoke(
        "calibrate",
        traffic,
        "--model",
        model_folder,
        "--out",
        tmp_path / "p.toml",
        "--max-unsafe-rate",
        "0.01",
        "--json",
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    policy = read_policy(tmp_path / "p.toml")
    assert isinstance(policy, Policy)
    assert found["policy_digest"] == policy.digest()
    (chosen,) = [row for row in found["trade_off"] if row["chosen"]]
    assert chosen["margin_logits"] == policy.thresholds.margin_logits
    now, *more = found["more_traffic"]["rows"]
    assert (now["multiple"], now["honest_tokens"]) == (1, policy.calibration.tokens + policy.evaluation.tokens)
    growth = [row["growth_nats_per_token"] for row in (now, *more)]
    assert growth == sorted(growth)
    assert more[-1]["multiple"] is None
    assert policy.noise.boundary_upper is not None
    again = invoke("run", traffic, "--model", model_folder, "--policy", tmp_path / "p.toml", "--unsafe-unsigned")
    assert again.exit_code == 0, again.output


WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
from weightwarden.cli.main import verify
verify(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--help"], 0, "Replay recorded LLM answers"),
        (["run", str(FILTERED), "--policy", str(BUNDLED_POLICY), "--unsafe-unsigned"], 2, "pip install"),
    ],
)
def test_without_torch_help_works_and_a_replay_says_what_to_install(arguments: list[str], code: int, says: str) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
