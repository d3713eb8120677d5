"""On what a figure was measured."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("weightwarden", "torch", "transformers", "numpy", "scipy")


def environment() -> dict[str, str]:
    """The machine and the versions of what computes."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
