"""The examples as files: TOML with all paths inside a test's folder, units, YAML."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.places import EXAMPLES

_FOLDERS = (
    "/etc/weightwarden-verifier",
    "/etc/weightwarden",
    "/var/lib/weightwarden-verifier",
    "/var/lib/weightwarden",
)


def yaml_of(name: str) -> Any:
    """A YAML file."""
    return yaml.safe_load((EXAMPLES / name).read_text())


def toml_in(folder: Path, name: str) -> Path:
    """A copy of a TOML file whose files and archives are in a folder."""
    text = (EXAMPLES / name).read_text()
    for one in _FOLDERS:
        text = text.replace(f"{one}/archives", str(folder)).replace(one, str(folder))
    path = folder / Path(name).name
    path.write_text(text)
    return path


def commented_options(name: str) -> dict[str, Any]:
    """Options that a TOML file has in comments, as alternatives: `# name = value`."""
    lines = re.findall(r"^# ([a-z-]+ = .*)$", (EXAMPLES / name).read_text(), re.MULTILINE)
    return {key: value for line in lines for key, value in tomllib.loads(line).items()}


def unit_of(name: str) -> dict[str, list[str]]:
    """The settings of a systemd unit, each with all its values."""
    settings: dict[str, list[str]] = {}
    for line in (EXAMPLES / name).read_text().replace("\\\n", " ").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def command_of(unit: dict[str, list[str]]) -> list[str]:
    """What a unit starts."""
    [command] = unit["ExecStart"]
    return shlex.split(command)


def flags_of(arguments: list[str]) -> dict[str, str | None]:
    """Command-line flags, each with its value; written as `--flag value` or `--flag=value`."""
    flags: dict[str, str | None] = {}
    last = None
    for argument in arguments:
        if argument.startswith("--"):
            last, equals, value = argument.partition("=")
            flags[last] = value if equals else None
        elif last is not None:
            flags[last] = argument
    return flags
