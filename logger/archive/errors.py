"""Errors of archives."""

from weightwarden.errors import WeightwardenError
from weightwarden.text import printable


class ArchiveUnreadable(WeightwardenError, OSError):
    """An archive that cannot be read or written at all: missing, no permission, no such store."""


class FolderMissing(ArchiveUnreadable):
    """A folder of archives that does not exist. In an object store, a folder exists once it holds a file."""


class ArchiveRefused(WeightwardenError, ValueError):
    """An archive whose content differs from what the holder of the key sealed.

    Attributes:
        url: the archive.
        what: reason of the refusal.
    """

    def __init__(self, url: str, what: str) -> None:
        self.url, self.what = url, what
        super().__init__(f"{printable(url)}: {what}")
