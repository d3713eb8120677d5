"""Moving of archives to another store: copied, read again there, and only then removed here."""

import hashlib
import shutil
from collections.abc import Callable
from typing import BinaryIO

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.companion import companion_url
from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.archive.names import ARCHIVE_NAME
from weightwarden.logger.archive.reader import Archive, read_archive
from weightwarden.logger.archive.storage import exists, joined, list_archives, make_folder, opened, publish, remove
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable

_BLOCK_BYTES = 2**20


class MoveRefused(WeightwardenError, RuntimeError):
    """An archive that cannot be moved: it is invalid, or another file has its name at the target."""


def move_archives(
    source: str, target: str, keys: PublicKeys, *, keep: int, moved: Callable[[Archive], None] = lambda _: None
) -> int:
    """Move the sealed archives of a folder to another, oldest first, and return their number.

    A file is removed from the source once its copy was read back with the same bytes and a valid seal. After an
    interruption at any moment, the next call continues. Files without an archive's name stay.

    Args:
        source: path or fsspec URL of a folder.
        target: path or fsspec URL of another existing folder.
        keys: keys of the log.
        keep: number of newest archives that stay.
        moved: called after each archive.

    Raises:
        ArchiveUnreadable: a store fails.
        MoveRefused: an archive is invalid, or another file has its name at the target. It stays where it is.
    """
    named = [
        (int(match[2]), name, file.url)
        for file in list_archives(source).files
        if (match := ARCHIVE_NAME.fullmatch(name := file.url.rsplit("/", 1)[-1]))
    ]
    leaving = sorted(named)[: max(0, len(named) - keep)]
    for _, name, url in leaving:
        moved(_move(url, joined(target, name), keys))
    return len(leaving)


def _move(url: str, target: str, keys: PublicKeys) -> Archive:
    """The archive at its new place, after its file and its companion were removed from the old one."""
    try:
        read_archive(url, keys)
    except ArchiveRefused as refused:
        raise MoveRefused(f"{printable(url)}: {refused.what}; it stays where it is") from None
    companion, companion_target = companion_url(url), companion_url(target)
    if exists(companion):
        make_folder(companion_target.rpartition("/")[0])
        _copy_checked(companion, companion_target)
    _copy_checked(url, target)
    copy = read_archive(target, keys)
    if exists(companion):
        remove(companion)
    remove(url)
    return copy


def _copy_checked(url: str, target: str) -> None:
    """Copy a file, unless an earlier move did, and read the copy back."""
    digest = _digest(url)
    if not exists(target):
        publish(target, lambda stream: _copy(url, stream))
    if _digest(target) != digest:
        raise MoveRefused(f"{printable(target)}: is there already, and is not {printable(url)}")


def _copy(url: str, stream: BinaryIO) -> None:
    with opened(url) as original:
        shutil.copyfileobj(original, stream, _BLOCK_BYTES)


def _digest(url: str) -> bytes:
    digest = hashlib.sha256()
    with opened(url) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()
