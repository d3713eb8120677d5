"""`--replay-python`: a vLLM server for a run, or one for each of its workers, which outlives neither."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import Result

from logger.record import Record
from tests.cli.test_vllm import calibrated, invoke, written
from tests.verifier.vllm.small_server import EOS, Behaviour, record, small_server
from tests.verifier.vllm.stand_in import stand_in

START = """
import sys, time
from pathlib import Path
from verifier.vllm.own_server import OwnServer
server = OwnServer(lambda port: [sys.argv[1], "--port", str(port)], {"VLLM_API_KEY": "k"}, Path(sys.argv[2]))
time.sleep(600)
"""


def records() -> list[Record]:
    found = [record([5, 6, i], seed=i, count=12, temperature=0.0) for i in range(8)]
    output = list(found[3].output_token_ids)
    output[2] = next(i for i in range(5, 50) if i not in (output[2], EOS))
    return [*found[:3], found[3].model_copy(update={"output_token_ids": output}), *found[4:]]


@pytest.fixture
def policy(tmp_path: Path, model_folder: Path) -> Path:
    with small_server(Behaviour()) as url:
        return calibrated(tmp_path, [record([5, 7, i], seed=i, count=12) for i in range(12)], model_folder, url)


@pytest.fixture
def run(tmp_path: Path, policy: Path, model_folder: Path) -> Callable[..., Result]:
    """`verify run` of the records, with what a test adds."""
    traffic = written(tmp_path / "t.jsonl", records())
    options = ["--replay", "vllm", "--model", model_folder, "--policy", policy, "--unsafe-unsigned"]
    return lambda *more: invoke("run", traffic, *options, "--json", tmp_path / "r.json", *more)


def started(seen: Path) -> list[int]:
    """Processes of all servers that were started, and of their engines."""
    return [int(line.split()[0]) for line in seen.read_text().splitlines()]


def await_engine(seen: Path) -> None:
    """Return when a server and its engine have been started."""
    deadline = time.monotonic() + 60
    while not (seen.exists() and len(seen.read_text().splitlines()) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_ended(processes: list[int], within: float) -> bool:
    deadline = time.monotonic() + within
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, processes))


def test_a_run_starts_a_server_of_its_policy_which_ends_with_it(tmp_path: Path, run: Callable[..., Result]) -> None:
    python, seen = stand_in(tmp_path)
    result = run("--replay-python", python, "--replay-arguments", "--quantization 'of a kind'")
    assert result.exit_code == 1, result.output
    assert [flagged["record"] for flagged in json.loads((tmp_path / "r.json").read_text())["flagged"]] == [3]
    arguments = seen.read_text().splitlines()[0]
    for part in ("-m vllm.entrypoints", "--logprobs-mode raw_logits", "--quantization of a kind --host 127.0.0.1"):
        assert part in arguments
    assert len(started(seen)) == 2
    assert all_ended(started(seen), within=0)


@pytest.mark.usefixtures("local_ray")
def test_each_worker_has_a_server_of_its_own_and_the_report_is_the_same(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    python, seen = stand_in(tmp_path)
    assert run("--replay-python", python).exit_code == 1
    alone = json.loads((tmp_path / "r.json").read_text())
    seen.unlink()
    result = run("--replay-python", python, "--engine", "ray", "--workers", 2)
    assert result.exit_code == 1, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report.pop("engine") == {"workers": 2, "worker_deaths": 0}
    for name in ("engine", "seconds", "tokens_per_second"):
        alone.pop(name, None)
        report.pop(name, None)
    assert report == alone
    assert report["device"] == "its own vLLM server"
    assert len(started(seen)) == 4
    assert all_ended(started(seen), within=30)


def test_a_server_ends_even_when_its_starter_is_killed(tmp_path: Path) -> None:
    python, seen = stand_in(tmp_path)
    starter = subprocess.Popen([sys.executable, "-c", START, python, tmp_path / "log"], cwd=Path(__file__).parents[2])
    await_engine(seen)
    assert all(map(alive, started(seen)))
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    assert all_ended(started(seen), within=30)


def test_a_server_that_will_not_end_in_order_is_killed(tmp_path: Path) -> None:
    python, seen = stand_in(tmp_path, first="import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    guarded = Path(__file__).parents[2] / "verifier" / "vllm" / "ended_with_parent.py"
    shortened = guarded.read_text().replace("ORDERLY_SECONDS = 20.0", "ORDERLY_SECONDS = 0.5")
    (tmp_path / "guard.py").write_text(shortened)
    guard = subprocess.Popen(
        [sys.executable, tmp_path / "guard.py", python, "--port", "0"],
        stdin=subprocess.PIPE,
        env=os.environ | {"VLLM_API_KEY": "k"},
    )
    await_engine(seen)
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(30)
    assert all_ended(started(seen), within=5)


def test_a_server_that_does_not_come_up_is_an_error_with_its_last_word(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    python, _ = stand_in(tmp_path, first="sys.exit('ValueError: no such quantization\\n\\n')")
    result = run("--replay-python", python)
    assert result.exit_code == 2
    assert "did not come up: ValueError: no such quantization (log: " in result.output
    assert not (tmp_path / "r.json").exists()
    result = run("--replay-python", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere: not an interpreter that can be run here" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--replay-arguments", "--x"), "goes with --replay-python"),
        (("--replay-python", "p", "--replay-url", "http://a"), "for one that runs"),
        (("--replay-python", "p", "--replay", "transformers"), "goes with --replay vllm"),
        (("--replay-python", "p", "--replay-arguments", "'"), "--replay-arguments: No closing quotation"),
    ],
)
def test_options_that_contradict_are_refused(
    run: Callable[..., Result], options: tuple[str, ...], message: str
) -> None:
    result = run(*options)
    assert result.exit_code == 2
    assert message in result.output
