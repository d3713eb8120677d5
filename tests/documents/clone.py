"""Folders like a fresh clone after `make demo`, for the commands of a page."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

from tests.places import ROOT

_PIP = """\
#!/bin/sh
# The environment holds everything that pip could install: pip resolves the line, and installs nothing.
test "$1" = install && shift
exec {python} -m pip install --disable-pip-version-check --quiet --dry-run --no-build-isolation "$@"
"""


def tracked_files() -> Iterator[Path]:
    """The files that a clone would hold, with those that git does not ignore and that are not added yet."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, check=True, capture_output=True)
    for name in sorted(set(done.stdout.decode().split("\0")) - {""}):
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            yield Path(name)


def copy_of_the_tree(folder: Path) -> None:
    """Copy the tracked files to a new folder."""
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


def make_environment(folder: Path, code: Path) -> None:
    """Make a virtual environment as `make demo` and `make test` leave it, over the packages of this interpreter.

    Args:
        folder: the environment, new.
        code: the tree whose modules its commands import.
    """
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "paths.pth").write_text(f"{code}\n{sysconfig.get_path('purelib')}\n")
    scripts = tomllib.loads((code / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for name, place in scripts.items():
        module, function = place.split(":")
        _write_program(folder / "bin" / name, f"#!{folder}/bin/python\nfrom {module} import {function}\n{function}()\n")
    for tool in ("pytest", "ruff", "mypy"):
        _write_program(folder / "bin" / tool, f'#!/bin/sh\nexec {folder}/bin/python -m {tool} "$@"\n')
    _write_program(folder / "bin" / "pip", _PIP.format(python=sys.executable))
    for stamp in (".ready-demo", ".ready"):
        (folder / stamp).touch()


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def environment() -> dict[str, str]:
    """The environment of a user who has not activated anything."""
    kept = ("HOME", "LANG", "OMP_NUM_THREADS", "USER", "WEIGHTWARDEN_CACHE", "XDG_CACHE_HOME", "TMPDIR")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    own = {str(Path(sys.prefix) / "bin"), str(Path(sys.executable).parent)}
    path = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder not in own]
    return inherited | pip | {"PATH": os.pathsep.join(path)}
