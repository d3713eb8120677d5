"""Sealing: what was appended since the last archive becomes the next one.

Interrupted at any moment, the next sealing goes on where it was: a checkpoint is recorded before its archive is
written, an archive is written whole before it is recorded, and writing it again gives the same records under the same
name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from logger.archive.storage import joined
from logger.archive.writer import write_archive
from logger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from logger.keys import KeyFileError, PublicKeys, SigningKey
from logger.store.errors import LogCorrupt
from logger.store.reader import LogReader
from logger.store.sealbook import SealBook


@dataclass(frozen=True)
class SealedArchive:
    """An archive that was just written: entries start to end - 1."""

    url: str
    start: int
    end: int


def seal(log: str, folder: str, signers: Sequence[SigningKey], least: int = 1) -> list[SealedArchive]:
    """Seal a log up to now.

    1. Sign a checkpoint of the log as it is, if it has grown by `least` entries, and record it.
    2. Write an archive for every checkpoint that has none yet.

    Args:
        log: the database. folder: path or fsspec URL of a folder that is there.

    Returns:
        The archives written; none when there was nothing new.

    Raises:
        LogUnreadable, LogLocked, LogCorrupt, ArchiveUnreadable.
        KeyFileError: a key is not one of this log.
    """
    reader = LogReader(log)
    origin = reader.origin
    if any(key.name != origin for key in signers):
        raise KeyFileError(f"this log is {origin}; a key that signs it has that name")
    with SealBook(log) as book:
        # 1
        checkpoints = reader.checkpoints()
        size, last = reader.size(), checkpoints[-1][0] if checkpoints else 0
        if size >= last + least:
            note = sign_checkpoint(Checkpoint(origin, size, reader.frontier(size).root()), signers)
            book.add_checkpoint(size, note)
            checkpoints.append((size, note))

        # 2
        archives = reader.archives()
        start = archives[-1][1] if archives else 0
        sealed = []
        for end, note in checkpoints:
            if end > start:
                sealed.append(_write(reader, folder, start, end, note, origin, signers))
                book.add_archive(start, end, sealed[-1].url)
                start = end
        return sealed


def _write(
    reader: LogReader, folder: str, start: int, end: int, note: bytes, origin: str, signers: Sequence[SigningKey]
) -> SealedArchive:
    url = joined(folder, f"{start:012}-{end:012}.parquet")

    def certify(size: int, root: bytes) -> bytes:
        checkpoint = open_checkpoint(note, PublicKeys(*(key.verifier for key in signers)))
        if (size, root) != (checkpoint.size, checkpoint.root):
            raise LogCorrupt(f"entries {start} to {end} are no longer those that checkpoint {end} certifies")
        return note

    write_archive(url, reader.entries(start, end), reader.frontier(start), certify, origin, signers)
    return SealedArchive(url, start, end)
