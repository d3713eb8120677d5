"""Roles of keys by their names: an auditor's key signs reports, and never a log."""

from weightwarden.logger.files.private import KeyFileError
from weightwarden.text import printable

AUDITOR = "auditor"
"""Beginning of the last part of an auditor's key's name, e.g. example.org/auditor-jane."""


def is_auditor(name: str) -> bool:
    """True if a key of this name is an auditor's."""
    return name.rsplit("/", 1)[-1].startswith(AUDITOR)


def require_auditor(name: str) -> None:
    """Refuse the key of a log where an auditor's is wanted.

    Raises:
        KeyFileError: the name is not an auditor's.
    """
    if not is_auditor(name):
        raise KeyFileError(
            f"{printable(name)} is no auditor's key: its name's last part begins with {AUDITOR!r},"
            f" e.g. {printable(name)}/{AUDITOR}-1 (`verify report key new`)"
        )


def require_log(name: str) -> None:
    """Refuse an auditor's key where the key of a log is wanted.

    Raises:
        KeyFileError: the name is an auditor's.
    """
    if is_auditor(name):
        raise KeyFileError(f"{printable(name)} is an auditor's key, which signs reports and no log")
