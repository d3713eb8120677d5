"""The whole in containers: who reaches whom, who reads what, and that every part is what its own example says."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from tests.examples.reading import command_of, flags_of, unit_of, yaml_of
from tests.places import EXAMPLES
from weightwarden.cli.commands.serve.command import serve
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.logger.files.private import read_private
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.log.seeds import read_seed_key
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.verifier.audit_selection import read_audit_key

USERS = {"sidecar": 10001, "verifier": 10002, "vllm": 10003, "postgresql": 999}
WHOLE: dict[str, Any] = yaml_of("compose.yaml")
SERVICES: dict[str, dict[str, Any]] = WHOLE["services"]


def _on(network: str) -> set[str]:
    return {name for name, service in SERVICES.items() if network in service["networks"]}


def _secrets(name: str) -> dict[str, str]:
    """A service's secrets by name, and where each is mounted."""
    mounted = {}
    for secret in SERVICES[name].get("secrets", []):
        long = {"source": secret, "target": secret} if isinstance(secret, str) else secret
        mounted[long["source"]] = str(Path("/run/secrets") / long["target"])
    return mounted


def test_only_the_sidecar_reaches_the_inference_server() -> None:
    assert list(SERVICES["vllm"]["networks"]) == ["inference"]
    assert _on("inference") == {"vllm", "sidecar"}
    assert "ports" not in SERVICES["vllm"]
    assert not {"network_mode", "extra_hosts", "dns"} & SERVICES["vllm"].keys()


def test_the_inference_server_has_no_way_out() -> None:
    network = WHOLE["networks"]["inference"]
    assert network["internal"] is True
    assert network["enable_ipv6"] is False
    assert SERVICES["vllm"]["sysctls"] == {"net.ipv6.conf.all.disable_ipv6": "1"}
    for version in (4, 6):  # nor an address of the host on its network
        assert network["driver_opts"][f"com.docker.network.bridge.gateway_mode_ipv{version}"] == "isolated"


def test_no_port_of_the_sidecar_is_open_to_the_inference_server() -> None:
    address = SERVICES["sidecar"]["networks"]["clients"]["ipv4_address"]
    environment = SERVICES["sidecar"]["environment"]
    assert environment["WEIGHTWARDEN_SIDECAR_LISTEN"] == f"{address}:8443"
    assert environment["WEIGHTWARDEN_SIDECAR_METRICS"] == f"{address}:9464"
    [config] = WHOLE["networks"]["clients"]["ipam"]["config"]
    assert config["subnet"].removesuffix("0/24") == address.removesuffix("2")


def test_postgresql_is_reached_by_sidecar_and_verifier_each_on_a_network_of_its_own() -> None:
    assert set(SERVICES["postgresql"]["networks"]) == {"log", "verdicts"}
    assert _on("log") == {"sidecar", "postgresql"}
    assert _on("verdicts") == {"verifier", "postgresql"}
    assert all(WHOLE["networks"][network]["internal"] for network in ("log", "verdicts"))
    assert "ports" not in SERVICES["postgresql"]


def test_clients_reach_the_sidecar_and_this_machine_the_dashboard() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "sidecar": ["8443:8443", "127.0.0.1:9464:9464"],
        "verifier": ["127.0.0.1:8090:8090"],
    }
    assert _on("clients") == {"sidecar"}
    assert _on("operators") == {"verifier"}
    for service in SERVICES.values():  # or its network would have to be looked at above
        assert set(service["networks"]) <= WHOLE["networks"].keys()


def test_archives_are_written_by_the_sidecar_and_only_read_by_the_verifier() -> None:
    assert "archives:/var/lib/weightwarden/archives" in SERVICES["sidecar"]["volumes"]
    [mounted] = [volume for volume in SERVICES["verifier"]["volumes"] if isinstance(volume, dict)]
    assert (mounted["source"], mounted["target"]) == ("archives", "/var/lib/weightwarden/archives")
    assert mounted["read_only"] is True
    assert mounted["volume"] == {"nocopy": True}
    assert all("archives" not in str(SERVICES[name]["volumes"]) for name in ("vllm", "postgresql"))
    assert SERVICES["verifier"]["group_add"] == [str(USERS["sidecar"])]


def test_each_has_a_model_of_its_own_that_it_cannot_change() -> None:
    models = [
        volume
        for name in ("vllm", "sidecar", "verifier")
        for volume in SERVICES[name]["volumes"]
        if str(volume).startswith("./")
    ]
    assert len({volume.split(":")[0] for volume in models}) == len(models) == 3
    assert all(volume.endswith(":ro") for volume in models)


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == f"{USERS[name]}:{USERS[name]}"
    assert not {"cap_add", "privileged", "pid", "ipc", "devices"} & service.keys()
    container = EXAMPLES / name / "Containerfile"
    assert "healthcheck" in service or "HEALTHCHECK" in container.read_text()
    if container.exists():
        assert f"USER {service['user']}" in container.read_text()


def test_no_secret_is_inline_and_each_is_read_by_one_user_alone() -> None:
    readers: dict[str, str] = {}
    for name, service in SERVICES.items():
        for secret in _secrets(name):
            assert readers.setdefault(secret, name) == name
        for key, value in service.get("environment", {}).items():
            assert not re.search(r"://[^/@]*:[^/@]*@", value)  # a password in a URL
            assert "PASSWORD" not in key or key.endswith("_FILE")
    assert readers.keys() == WHOLE["secrets"].keys()
    for secret, source in WHOLE["secrets"].items():
        assert source == {"file": f"site/secrets/{secret}"}
    assert "vllm" not in readers.values()
    assert "site/" in (EXAMPLES / ".gitignore").read_text().splitlines()


def test_what_is_mounted_is_here_or_is_asked_for() -> None:
    asked = (EXAMPLES / "make-site.sh").read_text()
    sources = [config["file"] for config in WHOLE["configs"].values()]
    sources += [
        str(volume)[2:].split(":")[0] for one in SERVICES.values() for volume in one["volumes"] if "./" in volume
    ]
    for source in sources:
        assert (EXAMPLES / source).is_file() or f"$site/{source.removeprefix('site/')}" in asked, source
    used = [config["source"] for service in SERVICES.values() for config in service.get("configs", [])]
    assert sorted(used) == sorted(WHOLE["configs"])
    for name in ("sidecar", "verifier"):
        build = SERVICES[name]["build"]
        assert (EXAMPLES / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize(
    ("name", "prefix", "command"),
    [("sidecar", "WEIGHTWARDEN_SIDECAR_", sidecar.commands["run"]), ("verifier", "WEIGHTWARDEN_SERVE_", serve)],
    ids=["sidecar", "verifier"],
)
def test_environments_name_options_and_files_are_where_the_examples_look(
    name: str, prefix: str, command: click.Command
) -> None:
    service, options = SERVICES[name], {str(parameter.name).upper() for parameter in command.params}
    assert {key.removeprefix(prefix) for key in service["environment"]} <= options
    mounted = {*_secrets(name).values(), *(config["target"] for config in service["configs"])}
    active = [line for line in (EXAMPLES / name / f"{name}.toml").read_text().splitlines() if not line.startswith("#")]
    wanted = set(re.findall(r'"(/etc/[^"]*)"', "\n".join(active)))
    assert wanted <= mounted
    [database] = [value for key, value in service["environment"].items() if value.startswith("postgresql://")]
    [passfile] = re.findall(r"passfile=(.*)$", database)
    assert passfile in mounted
    [told] = [condition for server, condition in service["depends_on"].items() if server == "postgresql"]
    assert told == {"condition": "service_healthy"}


def test_containers_stop_as_their_units_do() -> None:
    for name, grace in (("sidecar", "60s"), ("verifier", "3m"), ("vllm", "60s")):
        [seconds] = unit_of(f"{name}/weightwarden-{name}.service")["TimeoutStopSec"]
        assert SERVICES[name]["stop_grace_period"] == grace
        assert int(seconds) == {"60s": 60, "3m": 180}[grace]


def test_the_inference_server_is_started_as_its_unit_does() -> None:
    unit, service = unit_of("vllm/weightwarden-vllm.service"), SERVICES["vllm"]
    here = {"--host": "0.0.0.0", "--port": "8000"}
    assert flags_of(service["command"]) == flags_of(command_of(unit)) | here
    environment = dict(one.split("=") for line in unit["Environment"] for one in line.split())
    assert service["environment"].items() >= (environment.items() - {("HOME", environment["HOME"])})
    assert service["volumes"] == [f"./site/served:{flags_of(service['command'])['--model']}:ro"]
    assert SERVICES["sidecar"]["environment"]["WEIGHTWARDEN_SIDECAR_UPSTREAM"] == "http://vllm:8000"


def test_postgresql_writes_before_it_says_so() -> None:
    command = SERVICES["postgresql"]["command"]
    assert {"fsync=on", "full_page_writes=on", "synchronous_commit=on"} <= set(command)
    assert "off" not in str(command)


def test_a_site_has_every_secret_and_each_is_fit(tmp_path: Path) -> None:
    site = tmp_path / "site"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = [str(EXAMPLES / "make-site.sh"), "logs.example.org/cluster-7", str(site)]
    subprocess.run(made, check=True, capture_output=True, timeout=120, env={**os.environ, "PATH": path})
    secrets = site / "secrets"
    assert {one.name for one in secrets.iterdir()} == WHOLE["secrets"].keys() - {
        "tls.key"
    }  # that one is the operator's
    for name in SERVICES:
        for secret in _secrets(name).keys() - {"tls.key"}:
            found = (secrets / secret).stat()
            assert stat.S_IMODE(found.st_mode) == 0o400
            assert os.getuid() != 0 or found.st_uid == USERS[name]
    signs = SigningKey.read(secrets / "log.key")
    assert str(signs.verifier) in (site / "log.key.pub").read_text()
    assert PublicKeys.read(site / "log.key.pub")
    assert read_seed_key(secrets / "seed.key")
    assert read_audit_key(secrets / "audit.key")
    ApiKeys.read(secrets / "clients.keys")
    ApiKeys.read(secrets / "operators.keys")
    for kind in ("log", "verdicts"):
        password = read_private(secrets / f"{kind}-password").decode().strip()
        line = read_private(secrets / f"{kind}.pgpass").decode().strip()
        assert line == f"postgresql:5432:weightwarden_{kind}:weightwarden_{kind}:{password}"
        assert len(password) == 64
    again = subprocess.run(made, capture_output=True, timeout=60, env={**os.environ, "PATH": path}, check=False)
    assert again.returncode != 0  # a key is never overwritten
