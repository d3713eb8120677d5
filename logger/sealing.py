"""Sealing: the records since the last archive become the next archive.

After an interruption at any moment, the next sealing continues: a checkpoint is recorded once all records under it
were read and before it is published; an archive is written whole before it is recorded; an existing archive counts as
done only if it is identical. Its companion is written between the two, in place of one that an interrupted sealing of
this log left. Between sealings the trusted logger signs checkpoints of the tree in its memory: a change
of the database before sealing contradicts them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.companion import read_companion, write_companion
from weightwarden.logger.archive.errors import ArchiveRefused, ArchiveUnreadable, FolderMissing
from weightwarden.logger.archive.names import ARCHIVE_NAME, archive_name
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import exists, joined, list_archives, make_folder
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.request_stamp import StampQuery
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.mark import LogRolledBack, MarkFile, holds
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.cosignature import recorded_cosignature, with_cosignatures
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import SignatureLine, unverified_text
from weightwarden.text import printable


class AnotherArchive(WeightwardenError, FileExistsError):
    """Another file with the next archive's name, which is not overwritten."""


class NotCosigned(WeightwardenError, RuntimeError):
    """New records of which no checkpoint has as many cosignatures as sealing requires."""


@dataclass(frozen=True)
class SealedArchive:
    """A newly sealed archive of records start to end - 1."""

    url: str
    start: int
    end: int


def seal(
    log: str,
    folder: str,
    signers: Sequence[SigningKey],
    least: int = 1,
    mark: MarkFile | None = None,
    min_witnesses: int = 0,
) -> list[SealedArchive]:
    """The archives of a sealing: none if no record is new.

    1. Check that the log still extends every checkpoint since the last archive, its mark, and the newest archive in the
       folder.
    2. Record an archive that an interrupted sealing wrote for one of them without recording it.
    3. Write an archive of the new records, if there are at least `least`. It ends at the newest checkpoint with
       cosignatures, which the archive bears. Without one, it ends at the last record, with a new checkpoint, which is
       recorded before the archive is published.

    Args:
        log: the database.
        folder: path or fsspec URL of a folder. Before the first archive, a missing local one is made.
        signers: keys of the log.
        least: fewest new records for an archive.
        mark: the log's mark, which is advanced before a checkpoint is recorded.
        min_witnesses: fewest cosignatures of an archive's checkpoint. With 0, records are sealed without them, too.

    Raises:
        LogUnreadable: the database cannot be opened.
        LogLocked: another process seals this log.
        NotCosigned: there are enough new records, and none of their checkpoints has `min_witnesses` cosignatures.
        ArchiveUnreadable: an archive or companion cannot be read or written.
        ArchiveRefused: another file has the name of the archive or its companion.
        AnotherArchive: another file has the archive's name.
        LogCorrupt: records under the last checkpoint differ from those certified: the database was changed, or is an
            old copy. Nothing is signed.
        ArchiveContentError: the columns do not reproduce a record.
        RecordEncodingError: an entry of the log is no record.
        KeyFileError: a key is not one of this log.
    """
    reader = LogReader(log)
    origin = reader.origin
    if any(key.name != origin for key in signers):
        raise KeyFileError(f"this log is {origin}; a key that signs it has that name")
    with SealBook(log) as book:
        # 1
        checkpoints = [Checkpoint.parse(unverified_text(note)) for _, note in reader.checkpoints()]
        size = reader.size()
        archives = reader.archives()
        ready_folder(reader, folder)
        start = archives[-1][1] if archives else 0
        recent = [checkpoint for checkpoint in checkpoints if checkpoint.size > start] or checkpoints[-1:]
        for checkpoint in recent:
            check_extends(reader, size, checkpoint)
        if mark is not None:
            mark.check(reader, PublicKeys(*(key.verifier for key in signers)))
        check_newest_archive(reader, folder, signers)

        # 2
        cosignatures = recorded_cosignatures(reader, recent, start)
        sealing = _Sealing(reader, book, folder, signers, mark, cosignatures)
        sealed: list[SealedArchive] = []
        for checkpoint in recent:
            if checkpoint.size > start and exists(sealing.url(start, checkpoint.size)):
                sealed.append(sealing.seal(start, checkpoint.size, checkpoint))
                start = checkpoint.size

        # 3
        cosigned = [at for at, lines in cosignatures.items() if at > start and len(lines) >= max(min_witnesses, 1)]
        if size >= start + least and min_witnesses and not cosigned:
            raise NotCosigned(
                f"records {start} to {size - 1} are not sealed: no checkpoint of them has {min_witnesses} cosignatures"
            )
        end = max(cosigned, default=size)
        if end >= start + least:
            recorded = next((checkpoint for checkpoint in recent if checkpoint.size == end), None)
            sealed.append(sealing.seal(start, end, recorded))
        return sealed


def recorded_cosignatures(
    reader: LogReader, checkpoints: Sequence[Checkpoint], after: int
) -> dict[int, list[SignatureLine]]:
    """The valid recorded cosignatures of checkpoints beyond a size, by size."""
    recorded = reader.cosignatures(after)
    return {
        checkpoint.size: valid
        for checkpoint in checkpoints
        if (
            valid := [
                signature
                for key, line in recorded.get(checkpoint.size, ())
                if (signature := recorded_cosignature(checkpoint.text(), key, line)) is not None
            ]
        )
    }


def ready_folder(reader: LogReader, folder: str) -> None:
    """Make a missing local folder for a log's first archive. Later, a missing one is a disk that is not mounted.

    Raises:
        ArchiveUnreadable: the folder cannot be made, or the log has archives and their folder is missing.
    """
    if "://" in folder:
        return
    if not reader.archives():
        make_folder(folder)
    elif not Path(folder).is_dir():
        raise ArchiveUnreadable(
            f"{printable(folder)}: this log has archives, and their folder is missing: is it mounted?"
        )


def check_extends(reader: LogReader, size: int, last: Checkpoint) -> None:
    """Check that a log of `size` records extends a checkpoint.

    Raises:
        LogCorrupt: it does not.
    """
    if size < last.size or reader.frontier(last.size).root() != last.root:
        raise LogCorrupt(
            f"the first {last.size} entries are no longer those that their checkpoint certifies; nothing was signed"
        )


def check_newest_archive(reader: LogReader, folder: str, signers: Sequence[SigningKey]) -> None:
    """Check that a log holds the records that its newest archive in a folder certifies. Other files are ignored.

    Raises:
        LogRolledBack: it does not: the database is an old copy, or was changed.
        ArchiveUnreadable: the folder or an archive cannot be read.
    """
    keys, origin = PublicKeys(*(key.verifier for key in signers)), reader.origin
    recorded = max((end for _, end, _ in reader.archives()), default=0)
    try:
        listed = list_archives(folder).files
    except FolderMissing:
        if "://" not in folder:
            raise
        return  # a place in an object store where nothing was sealed yet
    found = [
        (int(match[2]), file.url) for file in listed if (match := ARCHIVE_NAME.fullmatch(file.url.rsplit("/", 1)[-1]))
    ]
    for end, url in sorted(found, reverse=True):
        if end <= recorded:
            return
        try:
            newest = read_archive(url, keys).checkpoint
        except ArchiveRefused:
            continue  # not sealed by these keys
        if newest.origin == origin:
            if not holds(reader, newest, keys):
                raise LogRolledBack(
                    f"{printable(url)} certifies {newest.size} entries that the database does not hold: it is an old"
                    " copy, or was changed; nothing was signed. Put the newest database back. If it is lost, keep this"
                    " one as evidence and begin a new log: a new name, a new key (verify log key new), a new database"
                )
            return


@dataclass(frozen=True)
class _Sealing:
    """Writer and recorder of one log's archives."""

    reader: LogReader
    book: SealBook
    folder: str
    signers: Sequence[SigningKey]
    mark: MarkFile | None
    cosignatures: Mapping[int, Sequence[SignatureLine]]

    def url(self, start: int, end: int) -> str:
        """URL of the archive of records start to end - 1."""
        return joined(self.folder, archive_name(start, end))

    def seal(self, start: int, end: int, recorded: Checkpoint | None = None) -> SealedArchive:
        """Seal records start to end - 1, under a new checkpoint or one that was recorded before."""
        origin = self.reader.origin
        url = self.url(start, end)

        def certify(size: int, root: bytes) -> bytes:
            checkpoint = Checkpoint(origin, size, root)
            note = sign_checkpoint(checkpoint, self.signers)
            if self.mark is not None:
                self.mark.advance(checkpoint)
            if recorded is None:
                self.book.add_checkpoint(size, note)
            elif checkpoint != recorded:
                raise LogCorrupt(f"entries {start} to {end - 1} are no longer those that checkpoint {end} certifies")
            return with_cosignatures(note, self.cosignatures.get(size, ()))

        if not exists(url):
            entries, tree = self.reader.entries(start, end), self.reader.frontier(start)
            write_archive(url, entries, tree, certify, origin, self.signers)
        elif recorded is None or not self._is_sealed(url, start, recorded):
            raise AnotherArchive(f"{printable(url)}: is there already, and is not the archive that belongs there")
        self._write_companion(url, start, end)
        self.book.add_archive(start, end, url)
        return SealedArchive(url, start, end)

    def _write_companion(self, url: str, start: int, end: int) -> None:
        """Write an archive's companion. An existing one is replaced if these keys sealed it, else refused."""
        read_companion(url, PublicKeys(*(key.verifier for key in self.signers)))
        stamps = self.reader.stamps(StampQuery(indices=range(start, end)))
        write_companion(url, stamps, start, end, self.reader.origin, self.signers)

    def _is_sealed(self, url: str, start: int, checkpoint: Checkpoint) -> bool:
        """True if an existing archive is the one that an interrupted sealing wrote."""
        archive = read_archive(url, PublicKeys(*(key.verifier for key in self.signers)))
        return (archive.start, archive.checkpoint) == (start, checkpoint)
