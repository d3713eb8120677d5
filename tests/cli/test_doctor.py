"""`doctor`: the options of the daemon that it is for, one screen, exit codes, and JSON."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
import tomli_w
from click.testing import CliRunner

from tests.logger.sidecar.process import config_file
from tests.logger.sidecar.scripted_upstream import Upstream
from tests.places import BUNDLED_POLICY
from tests.verifier.server.running import settings_in
from weightwarden.cli.commands.doctor import doctor as verify_doctor
from weightwarden.cli.commands.serve import serve
from weightwarden.cli.sidecar.doctor import doctor as sidecar_doctor
from weightwarden.cli.sidecar.run import run
from weightwarden.cli.weightwarden import weightwarden


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(weightwarden, [str(one) for one in arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def verifier_config(folder: Path, model_folder: Path, **more: Any) -> Path:
    settings = settings_in(folder)
    options = {
        "archives": list(settings.archives),
        "public-key": str(settings.public_keys),
        "policy": str(BUNDLED_POLICY),
        "model": str(model_folder),
        "database": settings.database,
        "audit-key": str(settings.audit_key),
        "audit-rate": 0.01,
        "api-keys": str(settings.api_keys),
        "listen": f"{settings.listen}",
    }
    path = folder / "verifier.toml"
    path.write_text(tomli_w.dumps(options | more))
    return path


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(
    ("doctor", "daemon", "beyond"), [(sidecar_doctor, run, set()), (verify_doctor, serve, {"--once"})]
)
def test_a_doctor_takes_the_options_of_its_daemon(
    doctor: click.Command, daemon: click.Command, beyond: set[str]
) -> None:
    assert options_of(doctor) - {"--json"} == options_of(daemon) - beyond
    assert doctor.context_settings["auto_envvar_prefix"] == daemon.context_settings["auto_envvar_prefix"]


def test_one_screen_for_a_sidecar_and_exit_code_0(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    config = config_file(tmp_path, model_folder, upstream.url)
    code, output = invoke("sidecar", "doctor", "--config", config)
    assert code == 0, output
    lines = output.splitlines()
    assert len(lines) < 40
    assert all(len(line) < 200 for line in lines)
    assert "0 faults" in lines[-1]


def test_a_fault_is_exit_code_2_with_a_line_of_what_to_do(tmp_path: Path, model_folder: Path) -> None:
    config = config_file(tmp_path, model_folder, "http://127.0.0.1:9")
    code, output = invoke("sidecar", "doctor", "--config", config)
    assert code == 2
    lines = output.splitlines()
    [at] = [at for at, line in enumerate(lines) if "FAULT" in line]
    assert "cannot be reached" in lines[at]
    assert "-> start the server" in lines[at + 1]
    assert "1 fault" in lines[-1]


def test_json_has_every_finding(tmp_path: Path, model_folder: Path) -> None:
    config = config_file(tmp_path, model_folder, "http://127.0.0.1:9")
    code, output = invoke("sidecar", "doctor", "--config", config, "--json")
    found = json.loads(output)
    assert (code, found["faults"]) == (2, 1)
    [fault] = [one for one in found["findings"] if one["status"] == "fault"]
    assert (fault["check"], fault["advice"][:5]) == ("upstream", "start")
    assert {one["advice"] is None for one in found["findings"] if one["status"] == "ok"} == {True}


def test_one_screen_for_a_verification_server(tmp_path: Path, model_folder: Path) -> None:
    code, output = invoke("verify", "doctor", "--config", verifier_config(tmp_path, model_folder))
    assert code == 0, output
    assert "0 faults" in output
    assert not (tmp_path / "verdicts.db").exists()


def test_a_model_that_is_not_here_is_a_fault_and_is_not_downloaded(tmp_path: Path, model_folder: Path) -> None:
    code, output = invoke("verify", "doctor", "--config", verifier_config(tmp_path, model_folder, model="some/model"))
    assert code == 2
    assert "some/model: no such folder" in output


def test_a_replay_server_that_does_not_run_is_a_fault(tmp_path: Path, model_folder: Path) -> None:
    more = {"replayer": "vllm", "replay-url": "http://127.0.0.1:9", "replay-timeout": 1}
    code, output = invoke("verify", "doctor", "--config", verifier_config(tmp_path, model_folder, **more))
    assert code == 2
    assert "FAULT    replayer" in output


def test_both_daemons_of_a_host_in_one_command(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    sidecar, verifier = config_file(tmp_path, model_folder, upstream.url), verifier_config(tmp_path, model_folder)
    code, output = invoke("doctor", "--sidecar", sidecar, "--verifier", verifier)
    assert code == 0, output
    assert output.index("sidecar") < output.index("verification server")
    sidecar = config_file(tmp_path, model_folder, "http://127.0.0.1:9")
    assert invoke("doctor", "--sidecar", sidecar, "--verifier", verifier)[0] == 2
    assert invoke("doctor", "--verifier", verifier)[0] == 0
    code, output = invoke("doctor")
    assert code == 2
    assert "--sidecar FILE" in output


def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("upstreem = 1")
    code, output = invoke("doctor", "--sidecar", tmp_path / "bad.toml")
    assert code == 2
    assert "upstreem: there is no such option" in output
    code, output = invoke("doctor", "--sidecar", tmp_path / "missing.toml", "--verifier", tmp_path / "bad.toml")
    assert code == 2
    assert "missing.toml: cannot be read" in output
