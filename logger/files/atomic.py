"""Atomic writes: a file appears under its name whole or not at all, durable on return."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PRIVATE, SHARED, PUBLIC = 0o600, 0o640, 0o644
"""Permissions of files: private (prompts, answers, verdicts, keys), shared (archives, which a verifier in the file's
group may read if the umask allows it), public (public keys, policies, models: under every umask, since root writes them
for the services' users).
"""
_PUBLIC_FOLDER = 0o755


def write_whole(path: Path, write: Callable[[BinaryIO], object], mode: int = PRIVATE) -> None:
    """Write a file through a temporary one beside it. Readers see the old file or the new one.

    Args:
        path: the file.
        write: fills an empty file, open for reading and writing. Its exceptions pass through.
        mode: the file's permissions from its first byte on, less the process's umask unless it is `PUBLIC`.

    Raises:
        OSError: the file cannot be written; nothing of it remains.
    """
    scratch = path.absolute().parent / f".{path.name}-{secrets.token_hex(8)}"
    handle = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        if mode == PUBLIC:
            os.fchmod(handle, mode)
        with os.fdopen(handle, "w+b") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.absolute().parent)


def make_public(folder: Path) -> None:
    """Let every user read a folder and all that is in it, and only the owner change it.

    Raises:
        OSError: a permission cannot be changed.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(_PUBLIC_FOLDER if path.is_dir() else PUBLIC)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
