"""Signs checkpoints of the tree that the sidecar holds in memory, and seals archives, now and then."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.sealing import check_extends, check_newest_archive, seal
from weightwarden.logger.store.errors import LogLocked
from weightwarden.logger.store.mark import MarkFile
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.sealbook import SealBook
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import NoteError


@dataclass
class Checkpointer:
    """Signs for one log, whose writer is in this process: what the database says of the tree is not asked.

    Attributes:
        archives: folder for archives, a path or fsspec URL, or None when somebody else seals.
        size: entries under the newest checkpoint that was signed here.
    """

    url: str
    log: LogWriter
    signers: Sequence[SigningKey]
    mark: MarkFile
    archives: str | None = None
    size: int = field(default=0, init=False)
    _turn: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)
    """One thread of this process at a time: the last sealing waits for one that is under way."""

    def check(self) -> None:
        """Check that the log extends its newest checkpoint, its mark, and its newest archive where that can be read.

        Between two runs the database may have been changed, or an old copy put in its place.

        Raises:
            LogCorrupt: it does not. KeyFileError: the checkpoint is not signed by a key that is given, or the mark
                cannot be read.
        """
        reader = LogReader(self.url)
        checkpoints = reader.checkpoints()
        if checkpoints:
            size, note = checkpoints[-1]
            try:
                newest = open_checkpoint(note, PublicKeys(*(key.verifier for key in self.signers)))
            except NoteError as error:
                raise KeyFileError(
                    f"the log's newest checkpoint, of {size} entries, is signed by none of these keys ({error});"
                    " while keys rotate, give the old one as well"
                ) from None
            check_extends(reader, reader.size(), newest)
            self.size = newest.size
        self.mark.check(reader)
        if self.archives is not None:
            with suppress(ArchiveUnreadable):  # sealing says so; the mark was checked
                check_newest_archive(reader, self.archives, self.signers)

    def certify(self) -> None:
        """Sign a checkpoint of what is durable now, if there is more than at the last; nothing while another seals.

        The writer records it, in the file that it writes to: another that lies under its name by now gets none.

        Raises:
            LogWriteError, LogForked, LogClosed, LogBusy: it cannot be written. KeyFileError: nor the mark.
        """
        with self._turn:
            tree = self.log.tree
            if tree.size <= self.size:
                return
            checkpoint = Checkpoint(self.signers[0].name, tree.size, tree.root())
            note = sign_checkpoint(checkpoint, self.signers)
            try:
                with SealBook(self.url):
                    self.mark.advance(checkpoint)
                    self.log.add_checkpoint(tree.size, note)
            except LogLocked:
                return
            self.size = tree.size

    def seal(self) -> None:
        """Seal what no archive holds yet; nothing while another seals.

        Raises:
            LogCorrupt: the database is not what was certified. ArchiveUnreadable, AnotherArchive, LogUnreadable, and
                those of `certify`.
        """
        with self._turn:
            self.certify()
            if self.archives is not None:
                try:
                    seal(self.url, self.archives, self.signers, mark=self.mark)
                except LogLocked:
                    return
