"""Disk usage and content of the archives of a folder, and of their companions."""

from collections.abc import Callable
from dataclasses import dataclass

from weightwarden.logger.archive.companion import FOLDER
from weightwarden.logger.archive.reader import count_output_tokens
from weightwarden.logger.archive.storage import exists, joined, list_archives
from weightwarden.logger.tlog.keys import PublicKeys


@dataclass(frozen=True, kw_only=True)
class FileUsage:
    """Disk usage and content of some archives.

    Attributes:
        files: number of files.
        file_bytes: bytes on disk; of companions their bytes alone.
        records: number of records in the archives.
        output_tokens: number of their output tokens.
    """

    files: int = 0
    file_bytes: int = 0
    records: int = 0
    output_tokens: int = 0

    def plus(self, file_bytes: int, records: int, output_tokens: int) -> "FileUsage":
        """The usage with one file more."""
        return FileUsage(
            files=self.files + 1,
            file_bytes=self.file_bytes + file_bytes,
            records=self.records + records,
            output_tokens=self.output_tokens + output_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class FolderUsage:
    """Disk usage and content of a folder of archives.

    Attributes:
        archives: all archives.
        companions: the companions, with records and tokens of their archives.
    """

    archives: FileUsage
    companions: FileUsage


def folder_usage(folder: str, keys: PublicKeys, progress: Callable[[int], None] = lambda _: None) -> FolderUsage:
    """The usage of a folder of archives. Each seal is checked before its file is parsed.

    Args:
        folder: path or fsspec URL.
        keys: keys of the log.
        progress: called with 1 after each archive.

    Raises:
        ArchiveUnreadable: the folder or a file cannot be read.
        ArchiveRefused: a file with the ending of an archive is not one of these keys.
    """
    listed = list_archives(folder).files
    beside = joined(folder, FOLDER)
    sizes = {_name(one.url): one.size or 0 for one in list_archives(beside).files} if exists(beside) else {}
    archives = companions = FileUsage()
    for file in listed:
        archive, tokens = count_output_tokens(file.url, keys)
        records = archive.end - archive.start
        archives = archives.plus(file.size or 0, records, tokens)
        if _name(file.url) in sizes:
            companions = companions.plus(sizes[_name(file.url)], records, tokens)
        progress(1)
    return FolderUsage(archives=archives, companions=companions)


def _name(url: str) -> str:
    return url.rpartition("/")[2]
