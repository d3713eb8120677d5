"""The way in which this package was installed, and commands that add to it."""

import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

NAME = "weightwarden"
_EXTRAS = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True)
class Installation:
    """An installation of this package.

    Attributes:
        tool: the program that manages its environment.
        python: the interpreter.
        active: True if that environment is the active one, in which `python` and `uv pip` work by themselves.
        source: what was installed, to be installed again: the name, a folder, or a direct reference (PEP 508).
        editable: True for a checkout that is imported where it lies.
        extras: extras that the tool installs with the package; other tools add to what is there.
    """

    tool: Literal["pip", "uv", "uv tool", "pipx"]
    python: Path
    active: bool
    source: str
    editable: bool = False
    extras: frozenset[str] = frozenset()

    def command_for_extra(self, extra: str) -> str:
        """The shell command that adds an extra of this package."""
        name, at, url = self.source.partition(" @ ")
        wanted = shlex.quote(f"{name}[{','.join(sorted({extra, *self.extras}))}]{at}{url}")
        if self.tool == "pipx":
            return f"pipx install --force {'--editable ' * self.editable}{wanted}"
        if self.tool == "uv tool":
            return f"uv tool install --force {'--editable ' * self.editable}{wanted}"
        return f"{self._pip_install} {'-e ' * self.editable}{wanted}"

    def command_for_package(self, requirement: str) -> str:
        """The shell command that adds another package, without what it requires."""
        if self.tool == "pipx":
            return f"pipx runpip {NAME} install --no-deps {requirement}"
        return f"{self._pip_install} --no-deps {requirement}"

    @property
    def _pip_install(self) -> str:
        python = shlex.quote(str(self.python))
        if self.tool == "pip":
            return f"{'python' if self.active else python} -m pip install"
        return f"uv pip install{'' if self.active else f' --python {python}'}"


def present_installation() -> Installation:
    """The installation of this process."""
    found = distribution(NAME)
    prefix, python = Path(sys.prefix), Path(sys.executable)
    on_path = shutil.which("python")
    active = os.environ.get("VIRTUAL_ENV") == str(prefix) or (on_path is not None and Path(on_path) == python)
    source, editable = _source(found)
    tool, extras = _tool(prefix, found)
    return Installation(tool, python, active, source, editable, frozenset(extras))


def _source(found: Distribution) -> tuple[str, bool]:
    """The source of an installation, and True if it is editable (PEP 610)."""
    origin = _json(found.read_text("direct_url.json"))
    url = origin.get("url")
    if not isinstance(url, str):
        return NAME, False
    if isinstance(folder := origin.get("dir_info"), dict):
        return unquote(urlsplit(url).path), folder.get("editable") is True
    if isinstance(repository := origin.get("vcs_info"), dict):
        return f"{NAME} @ {repository.get('vcs', 'git')}+{url}@{repository.get('commit_id', 'HEAD')}", False
    return f"{NAME} @ {url}", False


def _tool(prefix: Path, found: Distribution) -> tuple[Literal["pip", "uv", "uv tool", "pipx"], set[str]]:
    """The program that manages an environment, and the extras that it stores for the package."""
    if (prefix / "pipx_metadata.json").exists():
        package = _json(_text(prefix / "pipx_metadata.json")).get("main_package")
        named = _EXTRAS.search(str(package.get("package_or_url"))) if isinstance(package, dict) else None
        return "pipx", {extra.strip() for extra in named[1].split(",")} if named else set()
    if (prefix / "uv-receipt.toml").exists():
        return "uv tool", _receipt_extras(_text(prefix / "uv-receipt.toml") or "")
    made_by_uv = re.search(r"^uv\s*=", _text(prefix / "pyvenv.cfg") or "", re.MULTILINE)
    installer = (found.read_text("INSTALLER") or "").strip()
    return ("uv" if made_by_uv or installer == "uv" else "pip"), set()


def _receipt_extras(receipt: str) -> set[str]:
    try:
        requirements = tomllib.loads(receipt)["tool"]["requirements"]
        return {extra for one in requirements if one["name"] == NAME for extra in one.get("extras", [])}
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return set()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
