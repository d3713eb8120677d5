"""Files that hold secrets. They are read only if no other user can read them."""

import os
import stat
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.atomic import sync_folder

MAX_FILE_BYTES = 64 * 1024
_LEAST_SECRET_BYTES = 16


class KeyFileError(WeightwardenError, ValueError):
    """A key, or a file of keys, that cannot be used. The message never holds a secret."""


def read_private(path: Path) -> bytes:
    """The bytes of a file that holds a secret.

    Raises:
        KeyFileError: the file is unreadable, readable by others than its owner, or larger than `MAX_FILE_BYTES`.
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"{path}: others than its owner may read it: chmod 600, and make a new key if they could")
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return data


def require_distinct(files: Mapping[str, Path | None]) -> None:
    """Check that no secret serves two purposes: neither as one file, nor as equal content, nor as a line of both files.

    A secret of two purposes is revealed by either: who gets an API key would have the key that signs the log.

    Args:
        files: a file of secrets for each purpose (the name of an option), or None.

    Raises:
        KeyFileError: two purposes share a secret, or a file is unreadable or readable by others.
    """
    given = {purpose: path for purpose, path in files.items() if path is not None}
    secrets = {purpose: _secrets_in(read_private(path)) for purpose, path in given.items()}
    for (first, path), (second, other) in combinations(given.items(), 2):
        if path.samefile(other) or secrets[first] & secrets[second]:
            raise KeyFileError(f"{first} {path} and {second} {other} hold the same secret: each needs its own")


def _secrets_in(data: bytes) -> set[bytes]:
    """The secrets that a file may hold: its whole content, and each line."""
    lines = {line.strip() for line in data.splitlines() if not line.startswith((b"#", b"-----"))}
    return {secret for secret in (data.strip(), *lines) if len(secret) >= _LEAST_SECRET_BYTES}


def read_secret(path: Path) -> str:
    """The single secret in a file, for example a server's API key: printable ASCII without spaces.

    Raises:
        KeyFileError: the file is unreadable, readable by others than its owner, or holds no single secret.
    """
    try:
        key = read_private(path).decode("ascii").strip()
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: an API key has ASCII characters only") from None
    if not key or not key.isprintable() or " " in key:
        raise KeyFileError(f"{path}: holds no API key, or more than one")
    return key


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read. It survives a power cut once this returns.

    Raises:
        KeyFileError: the file exists, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path}: is there already; a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror or error}") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(handle)
        sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyFileError(f"{path}: cannot be written: {error.strerror or error}") from None
