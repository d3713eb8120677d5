"""Environment of a measurement."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.repository import ROOT

PACKAGES = ("weightwarden", "torch", "transformers", "numpy", "scipy")


def environment() -> dict[str, str]:
    """The machine, the versions of the computing libraries, and the commit."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _commit() -> str:
    """The checked-out commit, with `-dirty` if tracked files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    said = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    return said.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
