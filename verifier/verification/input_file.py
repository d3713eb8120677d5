"""The files of a run's input, as reports name them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.archive.storage import opened
from weightwarden.logger.tlog.signed_note import open_note


@dataclass(frozen=True, kw_only=True)
class TrafficInput:
    """A traffic file.

    Attributes:
        path: path as it was given.
        sha256: SHA-256 of its bytes, hex.
        records: number of records.
    """

    path: str
    sha256: str
    records: int


@dataclass(frozen=True, kw_only=True)
class ArchiveInput:
    """An archive of a log.

    Attributes:
        path: path or URL as it was given.
        sha256: SHA-256 of its bytes, hex.
        origin: the log's name.
        start: index of the first record.
        end: index after the last record.
        size: number of records of the checkpoint's tree.
        root: root of the checkpoint's tree, hex.
        keys: name and id of the known keys that signed the checkpoint, as "name+id".
    """

    path: str
    sha256: str
    origin: str
    start: int
    end: int
    size: int
    root: str
    keys: list[str]

    @classmethod
    def of(cls, archive: Archive) -> "ArchiveInput":
        """The description of an archive whose seal and checkpoint were checked.

        Raises:
            ArchiveUnreadable: the archive can no longer be opened.
        """
        with opened(archive.url) as stream:
            digest = hashlib.sha256()
            while block := stream.read(2**20):
                digest.update(block)
        checkpoint = archive.checkpoint
        return cls(
            path=archive.url,
            sha256=digest.hexdigest(),
            origin=checkpoint.origin,
            start=archive.start,
            end=archive.end,
            size=checkpoint.size,
            root=checkpoint.root.hex(),
            keys=[f"{key.name}+{key.key_id.hex()}" for key in open_note(archive.note, archive.keys).signed_by],
        )


InputFile = TrafficInput | ArchiveInput


def short_name(path: str) -> str:
    """A path or URL without its folders."""
    return path.rstrip("/").rsplit("/", 1)[-1] or Path(path).name
