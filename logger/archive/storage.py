"""Storage of archives: a local folder, or a store that fsspec knows by URL."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.errors import ArchiveUnreadable, FolderMissing
from weightwarden.logger.files.atomic import SHARED, sync_folder, write_whole
from weightwarden.logger.formats.file_kind import NOT_AN_ARCHIVE, kind_of_file
from weightwarden.text import first_line, printable

_DATABASES = ("postgresql:", "postgresql+", "postgres:", "sqlite:")


@contextmanager
def opened(url: str) -> Iterator[BinaryIO]:
    """An archive that is open for reading.

    Raises:
        ArchiveUnreadable: it cannot be opened, or reading fails.
    """
    try:
        files, path = fsspec.core.url_to_fs(url)
        stream = files.open(path, "rb")
    except Exception as error:  # stores raise what they like
        raise ArchiveUnreadable(f"{printable(url)}: cannot be read: {_why(error)}") from None
    with stream:
        try:
            yield cast(BinaryIO, stream)
        except (OSError, MemoryError) as error:
            if not is_failure(error):
                raise
            raise ArchiveUnreadable(f"{printable(url)}: cannot be read: {_why(error)}") from error


FOLDER_MODE = 0o750
"""Permissions of a new folder of archives, less the umask: its group may read, as it may read the archives."""


def make_folder(folder: str) -> None:
    """Make a missing folder, durable on return; a local one in an existing folder.

    Raises:
        ArchiveUnreadable: there is no folder to make it in, it cannot be made, or another file has its name.
    """
    try:
        files, path = fsspec.core.url_to_fs(folder)
        if not isinstance(files, LocalFileSystem):
            files.makedirs(path, exist_ok=True)
        elif not Path(path).is_dir():
            Path(path).mkdir(mode=FOLDER_MODE, exist_ok=True)
            sync_folder(Path(path).parent)
    except (OSError, ValueError, ImportError) as error:
        raise ArchiveUnreadable(f"{printable(folder)}: the folder cannot be made: {_why(error)}") from None


def publish(url: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a file that appears whole or not at all. In a local folder it is durable on return.

    Args:
        url: path or URL of the file.
        write: fills an empty local file, open for reading and writing.

    Raises:
        ArchiveUnreadable: it cannot be written; nothing of it remains.
    """
    try:
        files, path = fsspec.core.url_to_fs(url)
        if isinstance(files, LocalFileSystem):
            write_whole(Path(path), write, SHARED)
            return
        with tempfile.TemporaryFile() as scratch:
            write(cast(BinaryIO, scratch))
            scratch.seek(0)
            partial = f"{path}.partial"
            with files.open(partial, "wb") as remote:
                shutil.copyfileobj(scratch, remote)
            files.mv(partial, path)
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, WeightwardenError):
            raise  # the writer's error, not the store's
        raise ArchiveUnreadable(f"{printable(url)}: cannot be written: {_why(error)}") from error


def remove(url: str) -> None:
    """Remove a file.

    Raises:
        ArchiveUnreadable: the store refuses, or cannot be asked.
    """
    try:
        files, path = fsspec.core.url_to_fs(url)
        files.rm_file(path)
    except Exception as error:  # stores raise what they like
        raise ArchiveUnreadable(f"{printable(url)}: cannot be removed: {_why(error)}") from None


def is_failure(error: Exception) -> bool:
    """True if the machine or the store failed, rather than the stored content. Arrow's own errors have no errno."""
    return isinstance(error, (MemoryError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno is not None and not isinstance(error, WeightwardenError)
    )


def archive_urls(arguments: Sequence[str]) -> list[str]:
    """The archives that arguments name: files, and all `*.parquet` of folders.

    Raises:
        ArchiveUnreadable: a folder has no archives, a store cannot be asked, or an argument is a database or a traffic
            file.
    """
    urls: list[str] = []
    for argument in arguments:
        if argument.startswith(_DATABASES):  # not repeated: it may hold a password
            raise ArchiveUnreadable(f"this is {NOT_AN_ARCHIVE['database']}")
        try:
            files, path = fsspec.core.url_to_fs(argument)
            if not files.isdir(path):
                _require_archive(argument, files, path)
                urls.append(argument)
                continue
            inside = sorted(files.glob(f"{path.rstrip('/')}/*.parquet"))
        except (OSError, ValueError, ImportError) as error:
            if isinstance(error, WeightwardenError):
                raise
            raise ArchiveUnreadable(f"{printable(argument)}: cannot be looked up: {_why(error)}") from None
        if not inside:
            raise ArchiveUnreadable(f"{printable(argument)}: no archives (*.parquet) in this folder")
        local = isinstance(files, LocalFileSystem)
        urls.extend(str(found if local else files.unstrip_protocol(found)) for found in inside)
    return urls


def _require_archive(argument: str, files: AbstractFileSystem, path: str) -> None:
    """Refuse a local file of another kind. A file with an archive's name stays a finding of the check."""
    if isinstance(files, LocalFileSystem) and not path.endswith(".parquet"):
        kind = kind_of_file(Path(path))
        if kind in NOT_AN_ARCHIVE:
            raise ArchiveUnreadable(f"{printable(argument)}: {NOT_AN_ARCHIVE[kind]}")


@dataclass(frozen=True)
class StoredFile:
    """A file in a folder.

    Attributes:
        url: path or URL.
        fingerprint: a text that changes when the file is rewritten.
        size: bytes, or None if unknown.
    """

    url: str
    fingerprint: str
    size: int | None


@dataclass(frozen=True)
class Listing:
    """The content of a folder.

    Attributes:
        files: files, by name.
        strange: entries with such a name that are no regular files.
    """

    files: list[StoredFile]
    strange: list[str]


_FINGERPRINT = ("size", "mtime", "ETag", "etag", "LastModified", "md5Hash", "updated")
"""Fields of the stores' file information that change with the file; each store has other names."""


def list_archives(folder: str) -> Listing:
    """All `*.parquet` of a folder, which may be none.

    Raises:
        FolderMissing: there is no such folder.
        ArchiveUnreadable: the store cannot be asked.
    """
    return list_files(folder, ".parquet")


def list_files(folder: str, suffix: str) -> Listing:
    """All files of a folder whose names end in a suffix, without hidden ones.

    Raises:
        FolderMissing: there is no such folder.
        ArchiveUnreadable: the store cannot be asked.
    """
    try:
        files, path = fsspec.core.url_to_fs(folder)
        files.invalidate_cache()
        listed = files.ls(path, detail=True)
        local = isinstance(files, LocalFileSystem)
        found: list[StoredFile] = []
        strange: list[str] = []
        for info in listed:
            name = str(info["name"])
            base = name.rsplit("/", 1)[-1]
            if info.get("type") == "directory" or not base.endswith(suffix) or base.startswith("."):
                continue
            if info.get("type") != "file" or not _is_text(name):
                strange.append(f"{printable(name)}: not a regular file, or a name that is no text")
                continue
            fingerprint = ";".join(f"{key}={info[key]}" for key in _FINGERPRINT if key in info)
            size = info.get("size")
            url = name if local else str(files.unstrip_protocol(name))
            found.append(StoredFile(url, fingerprint, size if isinstance(size, int) else None))
    except FileNotFoundError as error:
        raise FolderMissing(f"{printable(folder)}: cannot be looked up: {_why(error)}") from None
    except Exception as error:  # stores raise what they like
        raise ArchiveUnreadable(f"{printable(folder)}: cannot be looked up: {_why(error)}") from None
    return Listing(sorted(found, key=lambda file: file.url), strange)


def _is_text(name: str) -> bool:
    """True if a name is Unicode text. A local name may be other bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def exists(url: str) -> bool:
    """True if a file exists at the URL.

    Raises:
        ArchiveUnreadable: the store cannot be asked.
    """
    try:
        files, path = fsspec.core.url_to_fs(url)
        return bool(files.exists(path))
    except (OSError, ValueError, ImportError) as error:
        raise ArchiveUnreadable(f"{printable(url)}: cannot be looked up: {_why(error)}") from None


def joined(folder: str, name: str) -> str:
    """The URL of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def listed_url(folder: str) -> str:
    """The path or URL with which the URLs of a folder's listing begin (`list_archives`): absolute, one for a folder.

    Raises:
        ArchiveUnreadable: no store has such URLs.
    """
    try:
        files, path = fsspec.core.url_to_fs(folder)
        return (path if isinstance(files, LocalFileSystem) else str(files.unstrip_protocol(path))).rstrip("/")
    except (OSError, ValueError, ImportError) as error:
        raise ArchiveUnreadable(f"{printable(folder)}: cannot be looked up: {_why(error)}") from None


def _why(error: Exception) -> str:
    return printable((error.strerror if isinstance(error, OSError) else None) or first_line(error))
