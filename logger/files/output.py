"""Output files: checked before the work, and written whole or not at all."""

import os
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.atomic import PRIVATE, PUBLIC, write_whole


class OutputError(WeightwardenError, OSError):
    """An output file that cannot be written."""


def check_writable(*paths: Path | None) -> None:
    """Refuse paths that could not be written after the work.

    Raises:
        OutputError: a path's folder does not exist or is not writable, or the path is a folder.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            raise OutputError(f"{path}: its folder does not exist or is not writable")


def write_text(path: Path, text: str, *, public: bool = False) -> None:
    """Write a text file whole or not at all. Only its owner can read it, unless it is public.

    Raises:
        OutputError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8"), public=public)


def write_bytes(path: Path, data: bytes, *, public: bool = False) -> None:
    """Write a file whole or not at all. Only its owner can read it, unless it is public.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        write_whole(path, lambda stream: stream.write(data), PUBLIC if public else PRIVATE)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
