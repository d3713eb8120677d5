"""Versions of a daemon and of what it runs on, for its build-info metric."""

import platform
import sqlite3
from importlib.metadata import version


def build_versions() -> dict[str, str]:
    """The versions of this package, of Python and of SQLite, by the names of the metric's labels."""
    return {
        "version": version("weightwarden"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
