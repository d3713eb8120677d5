"""The seen file: the last signed checkpoint of a log that this auditor saw."""

from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.files.output import write_text
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.signed_note import MAX_NOTE_BYTES, NoteError


class SeenError(WeightwardenError, ValueError):
    """A seen file that cannot be used."""


def read_seen(path: Path, keys: PublicKeys) -> Checkpoint:
    """The checkpoint in a seen file.

    Raises:
        SeenError: the file is unreadable, or holds no checkpoint signed by a known key.
    """
    try:
        with path.open("rb") as stream:
            note = stream.read(MAX_NOTE_BYTES + 1)
    except OSError as error:
        raise SeenError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        return open_checkpoint(note, keys)
    except NoteError as error:
        raise SeenError(f"{path}: not a checkpoint that a known key signed: {error}") from None


def advance_seen(path: Path, newest: Archive, keys: PublicKeys) -> None:
    """Store an archive's signed checkpoint, unless another check has stored one of at least its size meanwhile.

    Raises:
        OutputError: the file cannot be written.
        SeenError: the file holds no checkpoint.
    """
    if not path.exists() or read_seen(path, keys).size < newest.end:
        write_text(path, newest.note.decode("utf-8"), public=True)
