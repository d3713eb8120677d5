"""Checkpointer of the sidecar: signs checkpoints of the tree in memory, seals archives, and rolls the log over."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.rollover import roll_over
from weightwarden.logger.sealing import check_extends, check_newest_archive, seal
from weightwarden.logger.store.errors import LogLocked
from weightwarden.logger.store.mark import MarkFile
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import NoteError


@dataclass
class Checkpointer:
    """Signer of a log whose writer runs in this process. It signs the tree in memory, not the one in the database.

    Attributes:
        url: the log's database.
        log: the writer.
        signers: keys of the log.
        mark: file with the newest checkpoint and start.
        archives: folder for archives (a path or fsspec URL), or None when another process seals.
        keep_sealed: number of newest archives whose records stay in the database, or None for all.
        min_witnesses: fewest cosignatures of an archive's checkpoint.
        newest: the newest recorded checkpoint that these keys signed, with its note; None before the first.
    """

    url: str
    log: LogWriter
    signers: Sequence[SigningKey]
    mark: MarkFile
    archives: str | None = None
    keep_sealed: int | None = None
    min_witnesses: int = 0
    newest: tuple[Checkpoint, bytes] | None = field(default=None, init=False)
    _turn: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)
    """Lock of one thread of this process: the last sealing waits for a sealing that is under way."""

    @property
    def size(self) -> int:
        """Number of records under the newest checkpoint signed here."""
        return self.newest[0].size if self.newest is not None else 0

    def check(self) -> None:
        """Check that the log extends its newest checkpoint, its mark, and its newest archive if that can be read.

        Between two runs the database may have been changed, or replaced by an old copy.

        Raises:
            LogCorrupt: the log does not extend one of them.
            KeyFileError: none of the given keys signed the checkpoint, or the mark cannot be read.
        """
        reader = LogReader(self.url)
        checkpoints = reader.checkpoints()
        if checkpoints:
            size, note = checkpoints[-1]
            try:
                newest = open_checkpoint(note, self.keys)
            except NoteError as error:
                raise KeyFileError(
                    f"the log's newest checkpoint, of {size} entries, is signed by none of these keys ({error});"
                    " while keys rotate, give the old one as well"
                ) from None
            check_extends(reader, reader.size(), newest)
            self.newest = (newest, note)
        self.mark.check(reader, self.keys)
        if self.archives is not None:
            with suppress(ArchiveUnreadable):  # sealing reports it; the mark was checked
                check_newest_archive(reader, self.archives, self.signers)

    def certify(self) -> bool:
        """Sign a checkpoint of the durable records, if any are new. False: another process seals, and nothing was done.

        The writer stores it in the file that it has open. A file that has replaced it under the same name gets no
        checkpoint.

        Raises:
            LogWriteError: the checkpoint cannot be written.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
            LogBusy: too many appends wait.
            KeyFileError: the mark cannot be written.
        """
        with self._turn:
            tree = self.log.tree
            if tree.size <= self.size:
                return True
            checkpoint = Checkpoint(self.signers[0].name, tree.size, tree.root())
            note = sign_checkpoint(checkpoint, self.signers)
            try:
                with SealBook(self.url):
                    self.mark.advance(checkpoint)
                    self.log.add_checkpoint(tree.size, note)
            except LogLocked:
                return False
            self.newest = (checkpoint, note)
            return True

    def seal(self) -> bool:
        """Seal the records that no archive holds, and roll over. False: another process seals, and nothing was done.

        Raises:
            NotCosigned: no checkpoint of the new records has `min_witnesses` cosignatures.
            LogCorrupt: the database does not agree with its checkpoints.
            LogUnreadable: the database cannot be opened.
            ArchiveUnreadable: the newest archive cannot be read, or the new one not written.
            AnotherArchive: another archive has the new one's name.
            LogWriteError: the checkpoint cannot be written.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
            LogBusy: too many appends wait.
            KeyFileError: the mark cannot be written.
            RolloverRefused: an archive does not hold what would leave the database.
        """
        with self._turn:
            self.certify()
            if self.archives is not None:
                try:
                    seal(self.url, self.archives, self.signers, mark=self.mark, min_witnesses=self.min_witnesses)
                    if self.keep_sealed is not None:
                        roll_over(self.url, [self.archives], self.keys, keep=self.keep_sealed)
                except LogLocked:
                    return False
            return True

    @property
    def keys(self) -> PublicKeys:
        """The log's public keys."""
        return PublicKeys(*(key.verifier for key in self.signers))

    def sealed_size(self) -> int:
        """Number of records that are in archives, whichever process sealed them.

        Raises:
            LogUnreadable: the database cannot be read.
        """
        return LogReader(self.url).sealed_size()
