"""The examples say what the program has."""

import shlex
import tomllib
from pathlib import Path

from click.testing import CliRunner

from cli.sidecar.main import sidecar

EXAMPLES = Path(__file__).parents[1] / "examples" / "sidecar"


def test_every_option_of_the_example_exists_and_can_be(tmp_path: Path) -> None:
    text = (EXAMPLES / "sidecar.toml").read_text().replace("/etc/weightwarden", str(tmp_path))
    text = text.replace("/var/lib/weightwarden/archives", str(tmp_path))
    (tmp_path / "sidecar.toml").write_text(text)
    result = CliRunner().invoke(sidecar, ["run", "--config", str(tmp_path / "sidecar.toml")])
    assert result.exit_code == 2
    assert f"{tmp_path}/log.key: cannot be read" in result.output  # all options were understood


def test_unit_and_container_start_the_sidecar_with_the_example(tmp_path: Path) -> None:
    unit = (EXAMPLES / "weightwarden-sidecar.service").read_text()
    [command] = [line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart=")]
    container = (EXAMPLES / "Containerfile").read_text()
    assert shlex.split(command)[1:] == ["run", "--config", "/etc/weightwarden/sidecar.toml"]
    assert 'CMD ["run", "--config", "/etc/weightwarden/sidecar.toml"]' in container
    drain = next(p for p in sidecar.commands["run"].params if p.name == "drain").default
    assert f"TimeoutStopSec={2 * int(str(drain))}" in unit
    assert tomllib.loads((EXAMPLES / "sidecar.toml").read_text())["listen"].endswith(":8443")
