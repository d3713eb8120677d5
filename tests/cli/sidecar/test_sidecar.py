"""The `sidecar` command: settings, secrets, what it loads and what it never says."""

import json
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from tests.logger.sidecar.process import config_file, started
from tests.logger.sidecar.running import ORIGIN
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event, sends
from tests.logger.store.examples import disarmed, raw_sql
from weightwarden.cli.main import verify
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.logger.files.private import write_private
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.checkpoint import open_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey


def refused(config: Path, *arguments: str) -> str:
    """What `sidecar run` says when it refuses to."""
    result = CliRunner().invoke(sidecar, ["run", "--config", str(config), *arguments])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"upstreem": "x"}, "sidecar.toml: upstreem: there is no such option; did you mean upstream?"),
        ({"max-wating": 1}, "sidecar.toml: max-wating: there is no such option; did you mean max-waiting?"),
        ({"\x1b[2J": 1}, "sidecar.toml: \\x1b[2J: there is no such option"),
        ({"config": "x"}, "config: there is no such option"),
        ({"max-concurrent": "many"}, "sidecar.toml: max-concurrent: 'many' is not a valid integer"),
        ({"max-concurrent": [1, 2]}, "max-concurrent: the option takes a single value"),
        ({"listen": "8080"}, "not HOST:PORT"),
        ({"upstream": "10.0.0.2:8000"}, "10.0.0.2:8000: the upstream server's URL"),
        ({"upstream": "localhost"}, "the upstream server's URL"),
        ({"upstream-key": "/nowhere"}, "/nowhere: cannot be read"),
        ({"engine-version": ""}, "engine version"),
        ({"engine": "e" * 300}, "engine name"),
        ({"max-body": True}, "sidecar.toml: max-body: 'True' is not a valid integer"),
        ({"max-concurrent": 2.9}, "sidecar.toml: max-concurrent: '2.9' is not a valid integer"),
        ({"stall-timeout": -1}, "sidecar.toml: stall-timeout: -1"),
        ({"archives": "/nowhere/archives"}, "/nowhere/archives: the folder cannot be made"),
        ({"model-dir": "/nowhere"}, "no such model folder"),
        ({"seed-key": "/nowhere"}, "/nowhere: cannot be read"),
        ({"signing-key": "/nowhere"}, "/nowhere: cannot be read"),
        ({"api-keys": "/nowhere"}, "/nowhere: cannot be read"),
        ({"tls-key": "/nowhere"}, "TLS needs a certificate and its key"),
        ({"tls-key": "/nowhere", "tls-certificate": "/nowhere"}, "/nowhere: cannot be read"),
        ({"log": "/nowhere/log.db"}, "/nowhere/log.db"),
        ({"sampler": "magic"}, "sidecar.toml: sampler: 'magic' is not one of"),
        ({"chat-template": "/nowhere"}, "/nowhere: cannot be read"),
        ({"listen": "192.0.2.1:80"}, "cannot listen there"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    tmp_path: Path, model_folder: Path, change: dict[str, Any], said: str
) -> None:
    assert said in refused(config_file(tmp_path, model_folder, "http://127.0.0.1:9", **change))


def test_a_key_that_signs_reports_signs_no_log(tmp_path: Path, model_folder: Path) -> None:
    SigningKey.generate("example.org/auditor-jane").write(tmp_path / "auditor.key")
    key = {"signing-key": str(tmp_path / "auditor.key")}
    said = refused(config_file(tmp_path, model_folder, "http://127.0.0.1:9", **key))
    assert "example.org/auditor-jane is an auditor's key, which signs reports and no log" in said


def test_a_config_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("a = = b")
    assert "bad.toml: not TOML: Invalid value (at line 1, column 5)" in refused(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("a = " + "[" * 50_000)
    assert "bad.toml: not TOML: maximum recursion" in refused(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("a = " + "1" * 5_000)
    assert "bad.toml: not TOML: " in refused(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("max_waiting = 1")
    assert "bad.toml: max_waiting: there is no such option; did you mean max-waiting?" in refused(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_bytes(b"a = '\xff'")
    assert "bad.toml: not UTF-8 at byte 5" in refused(tmp_path / "bad.toml")


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    config = config_file(tmp_path, model_folder, upstream.url, **{"max-choices": 2, "max-prompt": 2})
    process = started(
        config,
        ["--max-prompt", "4"],
        {
            "WEIGHTWARDEN_SIDECAR_MAX_PROMPT": "3",
            "WEIGHTWARDEN_SIDECAR_MAX_CHOICES": "3",
        },
    )
    try:

        def status(prompt: list[int], n: int) -> int:
            body = {"model": "small", "prompt": prompt, "n": n, "max_tokens": 1}
            return httpx2.post(f"{process.url}/v1/completions", json=body, trust_env=False).status_code

        assert [status([5] * 4, 1), status([5] * 5, 1), status([5], 3), status([5], 4)] == [200, 400, 200, 400]
    finally:
        assert process.stop(signal.SIGTERM) == 0


def test_a_variable_that_names_no_option_is_refused_but_those_of_kubernetes_are_not(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_file(tmp_path, model_folder, "not a URL")
    for name, value in (("SERVICE_HOST", "10.0.0.1"), ("SERVICE_PORT_HTTP", "80"), ("PORT_80_TCP_ADDR", "10.0.0.1")):
        monkeypatch.setenv(f"WEIGHTWARDEN_SIDECAR_{name}", value)
    assert "the upstream server's URL" in refused(config)
    monkeypatch.setenv("WEIGHTWARDEN_SIDECAR_API_KEY", "clients.keys")
    said = refused(config)
    assert "WEIGHTWARDEN_SIDECAR_API_KEY: there is no such option" in said
    assert "did you mean WEIGHTWARDEN_SIDECAR_API_KEYS?" in said


def test_neither_torch_nor_transformers_are_imported(tmp_path: Path, model_folder: Path) -> None:
    check = (
        "import sys, asyncio\n"
        "from weightwarden.cli.sidecar.main import sidecar\n"
        "import weightwarden.logger.sidecar.daemon, weightwarden.logger.sidecar.wire.openapi\n"
        "import weightwarden.logger.sealing\n"
        "from pathlib import Path\n"
        "from weightwarden.logger.sidecar.model.served_model import ServedModel\n"
        "ServedModel.load(Path(sys.argv[1]), name='m').chat.render([{'role': 'user', 'content': 'a'}])\n"
        "heavy = {'torch', 'transformers', 'vllm', 'scipy', 'weightwarden.verifier.replay.replay'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", check, str(model_folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CANARY = "xyzzy-canary-plugh"


def test_no_text_of_prompts_or_answers_and_no_secret_is_ever_said(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    api_key = "sk-secret-of-a-client"
    (tmp_path / "keys").write_text(api_key)
    (tmp_path / "keys").chmod(0o600)
    config = config_file(tmp_path, model_folder, upstream.url, **{"api-keys": str(tmp_path / "keys")})
    process = started(config)
    headers = {"authorization": f"Bearer {api_key}"}
    chat = {"model": "small", "messages": [{"role": "user", "content": CANARY}]}
    bodies: list[Any] = [
        {"model": "small", "prompt": CANARY, "max_tokens": 3},
        {"model": "small", "prompt": CANARY, "max_tokens": 3, "stream": True},
        {"model": CANARY, "prompt": CANARY},
        {"model": "small", "prompt": CANARY, CANARY: 1},
        {"model": "small", "prompt": CANARY, "temperature": CANARY},
        {"model": "small", "prompt": {CANARY: CANARY}},
        CANARY,
    ]
    answers = [sends(HEAD, event([1], "length", text=CANARY)), sends(f"HTTP/1.1 500 {CANARY}\r\n\r\n{CANARY}".encode())]
    for answer in (*answers, sends(HEAD, f"data: {CANARY}\n\n".encode()), sends(CANARY.encode())):
        upstream.answer = answer
        for body in bodies:
            httpx2.post(f"{process.url}/v1/completions", json=body, headers=headers, trust_env=False)
        httpx2.post(f"{process.url}/v1/chat/completions", json=chat, headers=headers, trust_env=False)
    httpx2.get(f"{process.url}/{CANARY}?{CANARY}", headers={"x": CANARY}, trust_env=False)
    httpx2.get(f"{process.url}/v1/models", headers={"authorization": f"Bearer {CANARY}"}, trust_env=False)
    assert process.stop(signal.SIGTERM) == 0
    said = process.said.read_text()
    assert CANARY not in said
    assert api_key not in said
    for secret in ("log.key", "seed.key"):
        assert (tmp_path / secret).read_bytes().decode("latin-1").strip() not in said
    lines = [json.loads(line) for line in said.splitlines()]
    assert {"opened", "listening", "request", "stopping", "stopped"} <= {line["event"] for line in lines}
    assert "defect" not in {line["event"] for line in lines}


def test_a_seed_key_is_written_once_for_its_owner_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "seed.key"
    result = CliRunner().invoke(sidecar, ["key", str(path)])
    assert result.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32
    assert path.read_bytes().hex() not in result.output
    assert CliRunner().invoke(sidecar, ["key", str(path)]).exit_code == 2


def served_and_sealed(folder: Path, model_folder: Path, url: str, **more: int) -> tuple[Path, LogReader, PublicKeys]:
    """The configuration, the log and the public keys of a sidecar that ended after twelve answers, all sealed."""
    (folder / "archives").mkdir()
    sealing = {"archives": str(folder / "archives"), "checkpoint-every": 0.1, "seal-every": 0.25}
    config = config_file(folder, model_folder, url, **sealing, **more)
    key = SigningKey.read(folder / "log.key")
    (folder / "log.key.pub").write_text(f"{key.verifier}\n")
    serve(config, 12)
    reader = LogReader(str(folder / "log.db"))
    assert reader.size() == 12
    assert reader.archives()[-1][1] == 12
    result = CliRunner().invoke(
        verify, ["log", "check", str(folder / "archives"), "--public-key", str(folder / "log.key.pub")]
    )
    assert result.exit_code == 0, result.output
    return config, reader, PublicKeys(key.verifier)


def serve(config: Path, answers: int) -> None:
    """Start a sidecar, get so many answers, and stop it."""
    process = started(config)
    body = {"model": "small", "prompt": [5], "max_tokens": 3}
    for _ in range(answers):
        assert httpx2.post(f"{process.url}/v1/completions", json=body, trust_env=False).status_code == 200
    assert process.stop(signal.SIGTERM) == 0


def test_checkpoints_are_signed_while_it_runs_and_archives_are_sealed_that_verify_log_check_holds(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    _, reader, keys = served_and_sealed(tmp_path, model_folder, upstream.url)
    for size, note in reader.checkpoints():
        checkpoint = open_checkpoint(note, keys)
        assert (checkpoint.size, checkpoint.root) == (size, reader.frontier(size).root())


def test_a_log_rolls_over_while_it_is_served(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    config, reader, _ = served_and_sealed(tmp_path, model_folder, upstream.url, **{"keep-sealed": 0})
    assert reader.segment_start().size == 12  # all records left the database, after the last sealing at the latest
    assert not list(reader.stamps())
    serve(config, 1)
    assert reader.size() == 13


def test_a_log_that_was_changed_between_two_runs_is_refused(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    config = config_file(tmp_path, model_folder, upstream.url)
    process = started(config)
    body = {"model": "small", "prompt": [5], "max_tokens": 3}
    for _ in range(3):
        httpx2.post(f"{process.url}/v1/completions", json=body, trust_env=False)
    assert process.stop(signal.SIGTERM) == 0
    disarmed(process.log)
    raw_sql(process.log, 'UPDATE entry SET leaf_hash = :leaf WHERE "index" = 1', leaf=b"x" * 32)
    assert "no longer those that their checkpoint certifies" in refused(config)


def test_a_log_whose_newest_checkpoint_another_key_signed_is_refused_with_what_to_do(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    config = config_file(tmp_path, model_folder, upstream.url)
    process = started(config)
    body = {"model": "small", "prompt": [5], "max_tokens": 3}
    httpx2.post(f"{process.url}/v1/completions", json=body, trust_env=False)
    assert process.stop(signal.SIGTERM) == 0
    (tmp_path / "log.key").rename(tmp_path / "old.key")
    SigningKey.generate(ORIGIN).write(tmp_path / "log.key")
    assert "give the old one as well" in refused(config)
    both = started(config, ["--signing-key", str(tmp_path / "log.key"), "--signing-key", str(tmp_path / "old.key")])
    httpx2.post(f"{both.url}/v1/completions", json=body, trust_env=False)
    assert both.stop(signal.SIGTERM) == 0
    assert started(config).stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("option", "file"),
    [("seed-key", "log.key"), ("api-keys", "log.key"), ("upstream-key", "seed.key"), ("upstream-key", "clients")],
)
def test_one_secret_is_not_two_keys(tmp_path: Path, model_folder: Path, option: str, file: str) -> None:
    write_private(tmp_path / "clients", b"key-of-a-client-0123456789\nkey-of-another-0123456789\n")
    write_private(tmp_path / "copy", (tmp_path / "clients").read_bytes().splitlines()[1])
    config = config_file(tmp_path, model_folder, "http://127.0.0.1:9", **{"api-keys": str(tmp_path / "clients")})
    given = tmp_path / ("copy" if file == "clients" else file)
    assert f"--{option} {given}" in (said := refused(config, f"--{option}", str(given)))
    assert "hold the same secret: each needs its own" in said


def test_a_second_sidecar_on_the_same_log_is_refused(tmp_path: Path, model_folder: Path) -> None:
    config = config_file(tmp_path, model_folder, "http://127.0.0.1:9")
    with LogWriter.open(str(tmp_path / "log.db"), origin=ORIGIN):
        assert "another process appends" in refused(config)


def test_the_openapi_description_names_what_is_served() -> None:
    result = CliRunner().invoke(sidecar, ["openapi"])
    assert result.exit_code == 0
    paths = json.loads(result.output)["paths"]
    generating = {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"}
    counting = {"/v1/messages/count_tokens"}
    assert paths.keys() == generating | counting | {"/v1/models", "/v1/models/{model}", "/health", "/ready"}


def test_every_option_has_a_help_text() -> None:
    result = CliRunner().invoke(sidecar, ["run", "--help"])
    options = re.findall(r"^  (--[a-z-]+)", result.output, re.MULTILINE)
    assert len(options) > 30
    run = sidecar.commands["run"]
    assert all(getattr(parameter, "help", None) for parameter in run.params)


def test_options_have_the_same_names_in_file_and_environment() -> None:
    for parameter in sidecar.commands["run"].params:
        assert parameter.opts == [f"--{str(parameter.name).replace('_', '-')}"]
