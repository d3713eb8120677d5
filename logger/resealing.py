"""Resealing: an archive that was lost is written anew, while the database still has its records."""

from collections.abc import Sequence

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.companion import write_companion
from weightwarden.logger.archive.names import archive_name
from weightwarden.logger.archive.storage import exists, joined
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.request_stamp import StampQuery
from weightwarden.logger.sealing import AnotherArchive, SealedArchive, recorded_cosignatures
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from weightwarden.logger.tlog.cosignature import with_cosignatures
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import NoteError
from weightwarden.text import printable


class ResealRefused(WeightwardenError, RuntimeError):
    """A record whose archive cannot be written anew: it was never sealed, or left the database."""


def reseal(log: str, folder: str, signers: Sequence[SigningKey], index: int) -> SealedArchive:
    """Write the archive of a record anew, under the checkpoint that was signed when it was first sealed.

    1. Find the archive's range, and check the signature of its checkpoint.
    2. Write the archive from the database, if its records lead to that checkpoint's root.
    3. Write the companion of the stamps that are still there.

    Args:
        log: the database.
        folder: path or fsspec URL of the folder where the archive is missing.
        signers: keys of the log; one of them signed the checkpoint.
        index: index of a record of the archive.

    Raises:
        LogUnreadable: the database cannot be opened.
        LogLocked: another process seals this log.
        ResealRefused: no archive held the record, its records left the database, or another key signed its checkpoint.
        AnotherArchive: a file with the archive's name exists.
        ArchiveUnreadable: the archive cannot be written.
        LogCorrupt: the records differ from those that the checkpoint certifies. Nothing was written.
    """
    reader = LogReader(log)
    with SealBook(log):
        # 1
        start, end = _range_of(reader, index)
        url = joined(folder, archive_name(start, end))
        if exists(url):
            raise AnotherArchive(f"{printable(url)}: is there already")
        checkpoint = _checkpoint_at(reader, end, signers)

        # 2
        def certify(size: int, root: bytes) -> bytes:
            if Checkpoint(checkpoint.origin, size, root) != checkpoint:
                raise LogCorrupt(
                    f"entries {start} to {end - 1} are no longer those that checkpoint {end} certifies; nothing was"
                    " written"
                )
            cosignatures = recorded_cosignatures(reader, [checkpoint], start)
            return with_cosignatures(sign_checkpoint(checkpoint, signers), cosignatures.get(end, ()))

        write_archive(url, reader.entries(start, end), reader.frontier(start), certify, checkpoint.origin, signers)

        # 3
        stamps = reader.stamps(StampQuery(indices=range(start, end)))
        write_companion(url, stamps, start, end, checkpoint.origin, signers)
        return SealedArchive(url, start, end)


def _range_of(reader: LogReader, index: int) -> tuple[int, int]:
    """First record, and the one after the last, of the archive that held a record."""
    for start, end, _ in reader.archives():
        if start <= index < end:
            if start < reader.segment_start().size:
                raise ResealRefused(
                    f"record {index}: its archive held records {start} to {end - 1}, which have left the database"
                    " (rollover): restore the archive from a copy"
                )
            return start, end
    raise ResealRefused(f"record {index}: no archive held it; verify log seal seals what is new")


def _checkpoint_at(reader: LogReader, size: int, signers: Sequence[SigningKey]) -> Checkpoint:
    """The recorded checkpoint of a size, if one of the keys signed it."""
    note = dict(reader.checkpoints()).get(size, b"")
    try:
        return open_checkpoint(note, PublicKeys(*(key.verifier for key in signers)))
    except NoteError as error:
        raise ResealRefused(
            f"the checkpoint of {size} records is signed by none of these keys ({error}); give the key of its time too"
        ) from None
