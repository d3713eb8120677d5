"""A log's mark: the newest checkpoint and start, kept outside the database, which may be an old copy."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from weightwarden.logger.files.atomic import write_whole
from weightwarden.logger.files.private import KeyFileError, read_private
from weightwarden.logger.store.errors import LogCorrupt, LogLocked
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.merkle import EMPTY_ROOT
from weightwarden.logger.tlog.signed_note import NoteError
from weightwarden.text import printable

FORMAT = "weightwarden-mark/1"
NONCE_BYTES = 32
_MAX_FILE_NAME = 200


class LogRolledBack(LogCorrupt):
    """A database that lacks what its log's mark or newest archive certifies: an old copy, or a changed one."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The newest checkpoint and the newest start of a log.

    Attributes:
        checkpoint: the checkpoint of the largest size.
        start: number of the newest start of a logger, 0 before the first.
        nonce: random bytes of that start, empty before the first.
    """

    checkpoint: Checkpoint
    start: int = 0
    nonce: bytes = b""

    def text(self) -> str:
        return f"{FORMAT}\n{self.start} {self.nonce.hex()}\n{self.checkpoint.text()}"

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """The mark in a text.

        Raises:
            ValueError: the text is no mark.
        """
        kind, _, rest = text.partition("\n")
        started, _, checkpoint = rest.partition("\n")
        start, _, nonce = started.partition(" ")
        mark = cls(checkpoint=Checkpoint.parse(checkpoint), start=int(start), nonce=bytes.fromhex(nonce))
        if kind != FORMAT or mark.text() != text:
            raise ValueError(text)
        return mark


def mark_path(signing_key: Path, origin: str) -> Path:
    """Default path of a log's mark: beside a signing key, named by the log."""
    return signing_key.with_name(f"{quote(origin, safe='')[:_MAX_FILE_NAME]}.mark")


class MarkFile:
    """The file with a log's mark. It is advanced before a checkpoint or a start is used, and never goes back.

    Keep it where restoring a copy of the database does not restore the mark as well.
    """

    def __init__(self, path: Path, origin: str) -> None:
        self.path, self._origin = path, origin
        self._held: int | None = None

    def read(self) -> Mark | None:
        """The mark, or None where there is no file.

        Raises:
            KeyFileError: the file is unreadable, readable by others, no mark, or another log's.
        """
        with self._failures_named("read"):
            if not self.path.exists():
                return None
        try:
            mark = Mark.parse(read_private(self.path).decode("utf-8"))
        except KeyFileError:
            raise
        except ValueError:
            raise KeyFileError(f"{self.path}: not a mark of a log") from None
        if mark.checkpoint.origin != self._origin:
            raise KeyFileError(f"{self.path}: the mark of {printable(mark.checkpoint.origin)}, not of {self._origin}")
        return mark

    def check(self, reader: LogReader, keys: PublicKeys) -> None:
        """Check that a log's database holds everything that its mark certifies. A new log has no mark.

        Args:
            reader: the log.
            keys: keys of the log, for a mark from before the present segment.

        Raises:
            LogRolledBack: the database lacks some of it.
            KeyFileError: the mark cannot be read, or is missing for a log that is not new.
        """
        mark = self.read()
        if mark is None:
            if reader.starts() or reader.checkpoints():
                raise KeyFileError(
                    f"{self.path}: the log was signed or served before, and its mark is not here: say where it is"
                    " (--mark); if it is lost, and the database is surely not an old copy, make it anew"
                    " (verify log mark)"
                )
            return
        checkpoint, starts = mark.checkpoint, reader.starts()
        if not holds(reader, checkpoint, keys) or (mark.start and starts.get(mark.start) != mark.nonce):
            raise LogRolledBack(
                f"the database is older than its mark {self.path} ({checkpoint.size} entries, {mark.start} starts), or"
                f" was changed; nothing was signed. Put the newest database back. If it is lost, keep this one as"
                f" evidence and begin a new log: a new name, a new key (verify log key new) and a new database"
            )

    def advance(self, checkpoint: Checkpoint) -> None:
        """Advance the mark to a checkpoint that is about to be used. It is durable on return.

        Raises:
            KeyFileError: the file cannot be written.
        """
        with self._turn():
            mark = self.read() or Mark(checkpoint=Checkpoint(self._origin, 0, EMPTY_ROOT))
            if checkpoint.size > mark.checkpoint.size:
                self._write(replace(mark, checkpoint=replace(checkpoint, extensions=())))

    def begin(self, start: int, nonce: bytes) -> None:
        """Advance the mark to a start that is about to issue seeds. It is durable on return.

        Raises:
            KeyFileError: the file cannot be written.
        """
        with self._turn():
            mark = self.read() or Mark(checkpoint=Checkpoint(self._origin, 0, EMPTY_ROOT))
            self._write(replace(mark, start=start, nonce=nonce))

    def renew(self, reader: LogReader) -> Mark:
        """A new mark that certifies the database as it is. The earlier mark is lost.

        Raises:
            KeyFileError: the file cannot be written.
            LogCorrupt: records are missing.
        """
        size, starts = reader.size(), reader.starts()
        start = max(starts, default=0)
        mark = Mark(
            checkpoint=Checkpoint(self._origin, size, reader.frontier(size).root()),
            start=start,
            nonce=starts.get(start, b""),
        )
        with self._turn():
            self._write(mark)
        return mark

    def __enter__(self) -> "MarkFile":
        """Hold the mark. One logger at a time serves the log, under whatever URL it opens the database.

        Raises:
            LogLocked: another logger holds the mark.
            KeyFileError: the lock file cannot be made.
        """
        path = self.path.with_name(f"{self.path.name}.lock")
        with self._failures_named():
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise LogLocked(f"{self.path}: another process serves this log") from None
        self._held = handle
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _write(self, mark: Mark) -> None:
        """Write the mark, for the old file's owner, else the folder's: root may seal for another user's logger."""
        with self._failures_named():
            owner = (self.path if self.path.exists() else self.path.absolute().parent).stat()
            write_whole(self.path, lambda stream: stream.write(mark.text().encode()), mode=0o600)
            with suppress(PermissionError):
                os.chown(self.path, owner.st_uid, owner.st_gid)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The right of one process to change the mark."""
        with self._failures_named():
            handle = os.open(self.path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _failures_named(self, what: str = "written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KeyFileError(
                f"{self.path}: the log's mark cannot be {what}: {error.strerror or error}; where the keys' folder is"
                " read-only, give another (--mark), which is not restored with the database"
            ) from None


def holds(reader: LogReader, checkpoint: Checkpoint, keys: PublicKeys) -> bool:
    """True if a log's database holds the records that a checkpoint certifies.

    Records from before the present segment are in archives alone. For a checkpoint from before it, the checkpoint of
    the segment's start must be signed and certify the stored frontier: it is newer, and who owns the database cannot
    make one.

    Args:
        reader: the log.
        checkpoint: the checkpoint.
        keys: keys of the log.
    """
    start = reader.segment_start()
    if checkpoint.size >= start.size:
        return reader.size() >= checkpoint.size and reader.frontier(checkpoint.size).root() == checkpoint.root
    try:
        certified = open_checkpoint(dict(reader.checkpoints()).get(start.size, b""), keys)
    except NoteError:
        return False
    return certified == Checkpoint(checkpoint.origin, start.size, start.root())
