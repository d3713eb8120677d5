"""A file that appears under its name whole or not at all, durable on return."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PRIVATE, SHARED, PUBLIC = 0o600, 0o640, 0o644
"""Permissions of a file that may hold prompts, answers, verdicts or keys, of an archive, which a verifier of its group
may read, and of a file that is for everybody."""


def write_whole(path: Path, write: Callable[[BinaryIO], object], mode: int = PRIVATE) -> None:
    """Write a file through a temporary one beside it; readers see the old file or the new.

    Args:
        write: fills an empty file, open for reading and writing.
        mode: the file's permissions, from its first byte on; the process's umask takes its share of them.

    Raises:
        OSError: it cannot be written; nothing is left of it. What `write` raises passes through.
    """
    scratch = path.absolute().parent / f".{path.name}-{secrets.token_hex(8)}"
    handle = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w+b") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.absolute().parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
