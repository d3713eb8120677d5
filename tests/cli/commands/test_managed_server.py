"""`--vllm-python`: a vLLM server for a run, or one for each of its workers, which outlives neither."""

import gc
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import Result

from benchmarks.free_port import free_port
from tests.cli.commands.test_vllm import calibrated, invoke, written
from tests.places import BUNDLED_POLICY, ROOT
from tests.verifier.replay.vllm.small_server import EOS, Behaviour, record, small_server
from tests.verifier.replay.vllm.stand_in import stand_in
from weightwarden.logger.record import Record
from weightwarden.verifier.errors import ReplayServerEnded, ReplayServerError
from weightwarden.verifier.replay.vllm import managed_server, processor
from weightwarden.verifier.replay.vllm.command import ServerCommand
from weightwarden.verifier.replay.vllm.managed_server import OwnServer, OwnVllmClient
from weightwarden.verifier.replay.vllm.processor import CAPS, InstructionSet, Processor, settings_for, this_processor

pytestmark = pytest.mark.slow

START = """
import sys, time
from pathlib import Path
from weightwarden.verifier.replay.vllm.managed_server import OwnServer
folder = Path(sys.argv[2])
folder.mkdir()
server = OwnServer([sys.argv[1], "--uds", str(folder / "socket")], {}, folder / "log", folder)
time.sleep(600)
"""
GUARD = ROOT / "verifier" / "replay" / "vllm" / "parent_watchdog.py"


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
    options = ["--replayer", "vllm", "--model", model_folder, "--policy", policy, "--unsafe-unsigned"]
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


def folders() -> set[Path]:
    """Folders of servers that were started, which are there."""
    return set(Path(tempfile.gettempdir()).glob("weightwarden-vllm-*"))


@pytest.fixture(autouse=True)
def _own_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder of the test's own, whose path leaves room for a socket's."""
    del tmp_path  # pytest's own folder is made before
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("TMPDIR", folder)
        yield


def test_a_run_starts_a_server_of_its_policy_which_ends_with_it(
    tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    python, seen = stand_in(tmp_path)
    secrets = {"WEIGHTWARDEN_SERVE_DATABASE": "postgresql://u:pass-1", "PGPASSWORD": "pass-2", "HF_TOKEN": "pass-3"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    for name in CAPS:
        monkeypatch.setenv(name, "AVX512_CORE")
    expected = settings_for(this_processor({}).instructions, "bfloat16")
    result = run("--vllm-python", python, "--vllm-args", "--quantization 'of a kind'")
    assert result.exit_code == 0, result.output  # one flagged record of eight: the policy's limit allows for it
    assert [flagged["record"] for flagged in json.loads((tmp_path / "r.json").read_text())["flagged"]] == [3]
    started_as = seen.read_text().splitlines()[0]
    for part in ("-m vllm.entrypoints", "--logprobs-mode raw_logits", "--quantization of a kind --uds "):
        assert part in started_as
    assert "pass-" not in started_as
    assert '"VLLM_CPU_KVCACHE_SPACE": "7"' in started_as
    for name in CAPS:
        chosen = expected.environment.get(name)
        assert (f'"{name}": "{chosen}"' in started_as) == (chosen is not None)
        assert "AVX512_CORE" not in started_as
    assert len(started(seen)) == 2
    assert all_ended(started(seen), within=0)
    assert not folders()


@pytest.mark.parametrize("instructions", ["AVX2", "AVX-512", "AMX"])
def test_a_server_keeps_the_policys_dtype_and_gets_the_environment_of_the_processor(
    tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, instructions: str
) -> None:
    python, seen = stand_in(tmp_path, first="sys.exit('ended')")
    here = Processor(name="A Processor", instructions=InstructionSet(instructions))
    monkeypatch.setattr(processor, "this_processor", lambda environment: here)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    result = run("--vllm-python", python)
    assert result.exit_code == 2
    started_as = seen.read_text().splitlines()[0]
    assert "--dtype bfloat16" in started_as
    on_amx = instructions == "AMX"
    assert ('"ONEDNN_MAX_CPU_ISA": "AVX2"' in started_as) != on_amx
    assert ("ONEDNN_MAX_CPU_ISA" in started_as) != on_amx
    assert "ONEDNN_MAX_CPU_ISA=AVX512_CORE is not passed on" in result.output
    assert ("exact replay with --dtype bfloat16 on AMX: measured not exact" in result.output) == on_amx
    assert ("--exact --replayer vllm --dtype float32" in result.output) == on_amx


def test_nobody_else_may_open_the_servers_socket(tmp_path: Path) -> None:
    python, seen = stand_in(tmp_path)
    command = ServerCommand("vllm", {}, [])
    with OwnVllmClient(python, command, timeout=20, connections=2) as client:
        assert client.served_model()[0] == "small"
        (folder,) = folders()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_ISSOCK((folder / "socket").stat().st_mode)
    assert all_ended(started(seen), within=0)


def test_a_temporary_folder_whose_path_is_too_long_for_a_socket_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    python, _ = stand_in(tmp_path)
    with OwnVllmClient(python, ServerCommand("vllm", {}, []), timeout=20, connections=2) as client:
        assert client.served_model()[0] == "small"
        assert list(long.iterdir()) == []


@pytest.mark.usefixtures("local_ray")
def test_each_worker_has_a_server_of_its_own_and_the_report_is_the_same(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    python, seen = stand_in(tmp_path)
    assert run("--vllm-python", python).exit_code == 0
    alone = json.loads((tmp_path / "r.json").read_text())
    seen.unlink()
    result = run("--vllm-python", python, "--executor", "ray", "--workers", 2)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report.pop("executor") == {"workers": 2, "worker_deaths": 0}
    for name in ("executor", "seconds", "tokens_per_second", "created", "environments"):
        alone.pop(name, None)
        report.pop(name, None)
    assert report == alone
    assert report["device"] == "its own vLLM server"
    assert len(started(seen)) == 4
    assert all_ended(started(seen), within=30)
    assert not folders()


@pytest.mark.usefixtures("local_ray")
def test_a_worker_whose_server_ended_is_replaced_and_what_ends_servers_is_unverifiable(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    poison = records()[5].output_token_ids
    python, seen = stand_in(tmp_path, behaviour=f"ends_on={poison!r}")
    result = run("--vllm-python", python, "--executor", "ray", "--workers", 1)
    assert result.exit_code == 2, result.output  # incomplete: a record has no verdict
    report = json.loads((tmp_path / "r.json").read_text())
    assert [aside["record"] for aside in report["unverifiable"]] == [5]
    assert [flagged["record"] for flagged in report["flagged"]] == [3]
    assert all_ended(started(seen), within=30)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the HTTP client's, of a socket that did not connect
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_ended_is_said_and_started_again_before_more_is_replayed(tmp_path: Path) -> None:
    python, seen = stand_in(tmp_path, behaviour="ends_on=[7, 7, 7]")
    with OwnVllmClient(python, ServerCommand("vllm", {}, []), timeout=20, connections=2) as client:
        with pytest.raises(ReplayServerEnded, match="the vLLM server ended: it wrote nothing"):
            client.score([5, 6, 7, 7, 7], 4, 1)
        with pytest.raises(ReplayServerEnded):
            client.score([5, 6, 7, 8, 7], 4, 1)
        client.ready()
        assert len(client.score([5, 6, 7, 8, 7], 4, 1)) == 4
    gc.collect()
    assert len(started(seen)) == 4
    assert all_ended(started(seen), within=0)


def test_a_server_ends_even_when_its_starter_is_killed(tmp_path: Path) -> None:
    python, seen = stand_in(tmp_path)
    folder = tmp_path / "server"
    starter = subprocess.Popen([sys.executable, "-c", START, python, folder], cwd=ROOT)
    await_engine(seen)
    assert all(map(alive, started(seen)))
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    assert all_ended(started(seen), within=30)
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
def test_a_server_that_will_not_end_in_order_is_killed(tmp_path: Path, how: str) -> None:
    python, seen = stand_in(tmp_path, first="import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    shortened = GUARD.read_text().replace("ORDERLY_SECONDS = 20.0", "ORDERLY_SECONDS = 0.5")
    (tmp_path / "guard.py").write_text(shortened)
    command = [sys.executable, str(tmp_path / "guard.py"), "-", str(python), "--uds", str(tmp_path / "socket")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as guard:
        await_engine(seen)
        if how == "SIGTERM":
            guard.terminate()
        else:
            assert guard.stdin is not None
            guard.stdin.close()
        assert guard.wait(30) != 0
    assert all_ended(started(seen), within=5)


def test_a_server_that_does_not_come_up_is_an_error_with_its_last_word(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    python, _ = stand_in(tmp_path, first="sys.exit('ValueError: no such quantization\\n\\n')")
    result = run("--vllm-python", python)
    assert result.exit_code == 2
    assert "did not come up: ValueError: no such quantization (log: " in result.output
    (folder,) = folders()
    assert "no such quantization" in (folder / "server.log").read_text()
    assert not (tmp_path / "r.json").exists()
    result = run("--vllm-python", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere: not an interpreter that can be run here" in result.output


DYING = """
import socket, sys, threading
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("RuntimeError: no such kernel", *["at frame"] * 40, "last", sep="\\n", flush=True)
asked, _ = listening.accept()  # and it never answers
sys.exit(1)
"""


def test_the_end_of_a_server_ends_the_wait_at_once_and_its_last_lines_and_errors_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_server, "_POLL_SECONDS", 3600.0)  # whatever else is waited for, this test would not end
    port = free_port()
    server = OwnServer([sys.executable, "-c", DYING, str(port)], {}, tmp_path / "log")
    try:
        while "last" not in server.log.read_text():  # it listens, and its first connection will be the last
            time.sleep(0.02)
        with pytest.raises(ReplayServerError, match="did not come up") as caught:
            server.wait_for(f"http://127.0.0.1:{port}")
    finally:
        server.stop()
    for line in ("RuntimeError: no such kernel", "at frame", "last"):
        assert f"\n  {line}\n" in str(caught.value)
    assert str(caught.value).count("at frame") < 20


def test_another_server_on_the_port_is_not_taken_for_the_one_that_was_started(tmp_path: Path) -> None:
    with small_server(Behaviour()) as url:
        server = OwnServer([sys.executable, "-c", "raise OSError('Address already in use')"], {}, tmp_path / "log")
        try:
            with pytest.raises(ReplayServerError, match="Address already in use"):
                server.wait_for(url, name="a name of its own")
        finally:
            server.stop()


def test_a_server_that_refuses_is_not_waited_for(tmp_path: Path, run: Callable[..., Result]) -> None:
    python, seen = stand_in(tmp_path, behaviour="key='of its own'")
    result = run("--vllm-python", python)
    assert result.exit_code == 2
    assert "HTTP 401: Unauthorized" in result.output
    assert all_ended(started(seen), within=0)


def test_a_policy_for_another_replay_is_refused_before_a_server_is_started(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    python, seen = stand_in(tmp_path)
    result = run("--vllm-python", python, "--policy", BUNDLED_POLICY)
    assert result.exit_code == 2
    assert "the policy was made for replay transformers, not vllm" in result.output
    assert not seen.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vllm-args", "--x"), "requires --vllm-python"),
        (("--vllm-python", "p", "--replay-url", "http://a"), "excludes --replay-url"),
        (("--vllm-python", "p", "--replayer", "transformers"), "requires --replayer vllm"),
        (("--vllm-python", "p", "--vllm-args", "'"), "--vllm-args: No closing quotation"),
    ],
)
def test_options_that_contradict_are_refused(
    run: Callable[..., Result], options: tuple[str, ...], message: str
) -> None:
    result = run(*options)
    assert result.exit_code == 2
    assert message in result.output
