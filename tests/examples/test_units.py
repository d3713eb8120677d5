"""The systemd units and the container files."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.examples.reading import command_of, flags_of, toml_in, unit_of
from tests.places import EXAMPLES
from weightwarden.cli.commands.serve.command import serve
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.verifier.server.alerting.notifier import COMMAND_SECONDS

UNITS = (
    "sidecar/weightwarden-sidecar.service",
    "verifier/weightwarden-verifier.service",
    "vllm/weightwarden-vllm.service",
)
NETWORK = "network/weightwarden-network@.service"
SLOW_REPLAY = 50.0
"""Tokens a second of a slow verifier."""


def test_the_sidecars_unit_and_container_start_it_with_the_example() -> None:
    unit = unit_of("sidecar/weightwarden-sidecar.service")
    assert command_of(unit)[1:] == ["run", "--config", "/etc/weightwarden/sidecar.toml"]
    assert 'CMD ["run", "--config", "/etc/weightwarden/sidecar.toml"]' in _container("sidecar")
    assert tomllib.loads((EXAMPLES / "sidecar/sidecar.toml").read_text())["listen"].endswith(":8443")


def test_the_verifiers_unit_and_container_start_it_with_the_example() -> None:
    unit = unit_of("verifier/weightwarden-verifier.service")
    assert command_of(unit)[1:] == ["serve", "--config", "/etc/weightwarden-verifier/verifier.toml"]
    container = _container("verifier")
    assert 'CMD ["serve", "--config", "/etc/weightwarden-verifier/verifier.toml"]' in container
    assert "EXPOSE 8090" in container
    assert tomllib.loads((EXAMPLES / "verifier/verifier.toml").read_text())["listen"].endswith(":8090")


def test_units_leave_time_to_stop(tmp_path: Path) -> None:
    [drain] = [parameter.default for parameter in sidecar.commands["run"].params if parameter.name == "drain_timeout"]
    assert unit_of("sidecar/weightwarden-sidecar.service")["TimeoutStopSec"] == [str(2 * int(str(drain)))]
    given = serve.make_context("serve", ["--config", str(toml_in(tmp_path, "verifier/verifier.toml"))]).params
    batch, notice = given["batch_tokens"] / SLOW_REPLAY, COMMAND_SECONDS
    [stop] = unit_of("verifier/weightwarden-verifier.service")["TimeoutStopSec"]
    assert int(stop) >= batch + notice


@pytest.mark.parametrize("name", ["sidecar", "verifier"])
def test_containers_take_sources_by_name_and_run_as_a_user(name: str) -> None:
    container = _container(name)
    sources = [one for line in re.findall(r"^COPY (.*)$", container, re.MULTILINE) for one in line.split()[:-1]]
    assert "." not in sources
    assert all((EXAMPLES.parent / source).exists() for source in sources)
    [extras] = re.findall(r"'\.\[(.*)\]'", container)
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert {"sampler", "logger", "verifier", "cli"} < set(sources)
    [user] = re.findall(r"^USER (\d+):\1$", container, re.MULTILINE)
    assert int(user) > 0


def test_the_inference_server_is_what_the_sidecar_expects() -> None:
    wanted = tomllib.loads((EXAMPLES / "sidecar/sidecar.toml").read_text())
    unit = unit_of("vllm/weightwarden-vllm.service")
    flags = flags_of(command_of(unit))
    assert wanted["upstream"] == f"http://{flags['--host']}:{flags['--port']}"
    assert flags["--model"] == wanted["upstream-model"]
    assert flags["--max-model-len"] == str(wanted["max-model-len"])
    assert "--enable-prefix-caching" in flags
    environment = " ".join(unit["Environment"]).split()
    assert ("VLLM_USE_V2_MODEL_RUNNER=1" in environment) == (wanted["sampler"] == "vllm-v2")
    assert unit["IPAddressDeny"] == ["any"]  # and none but the sidecar's host is let through
    assert unit["IPAddressAllow"] == ["localhost 10.0.0.1"]


def test_units_are_hardened_alike() -> None:
    logs, audits, serves = (unit_of(name) for name in UNITS)
    hardening = [key for key in logs if key.startswith(("Protect", "Restrict", "SystemCall", "NoNew", "Capability"))]
    assert len(hardening) > 12
    assert {key: audits[key] for key in hardening} == {key: logs[key] for key in hardening}
    alike = set(hardening) - {"RestrictAddressFamilies"}  # vLLM lists network interfaces
    assert {key: serves[key] for key in alike} == {key: logs[key] for key in alike}


@pytest.mark.parametrize("name", [*UNITS, NETWORK])
def test_systemd_takes_the_units(tmp_path: Path, name: str) -> None:
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", (EXAMPLES / name).read_text(), flags=re.MULTILINE)
    path = tmp_path / Path(name).name.replace("@.", "@link.")
    path.write_text(text)
    assert _complaints(path) == []


def test_systemd_sees_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "wrong.service"
    path.write_text("[Service]\nExecStart=/bin/true\nRestrictSUIDGUID=yes\n")
    assert _complaints(path)


def test_systemd_takes_the_drop_in_for_debians_template(tmp_path: Path) -> None:
    template = Path("/lib/systemd/system/postgresql@.service")
    if not template.exists():
        pytest.skip("Debian's PostgreSQL is not installed")
    unit = tmp_path / "postgresql@15-main.service"
    unit.write_text(template.read_text())
    shutil.copytree(EXAMPLES / "postgresql/postgresql@.service.d", tmp_path / f"{unit.name}.d")
    assert _complaints(unit) == []


def _container(name: str) -> str:
    return (EXAMPLES / name / "Containerfile").read_text()


def _complaints(path: Path) -> list[str]:
    """What `systemd-analyze verify` says of a unit itself, and not of others that this machine has."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [program, "verify", "--man=no", path], capture_output=True, text=True, timeout=60, check=False
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if str(path.parent) in line or path.name in line]
