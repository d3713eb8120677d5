"""The witness file: the last checkpoint that this auditor saw of a log, as the log signed it."""

from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.files.output import write_text
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.signed_note import MAX_NOTE_BYTES, NoteError


class WitnessError(WeightwardenError, ValueError):
    """A witness file that cannot be used."""


def read_witness(path: Path, keys: PublicKeys) -> Checkpoint:
    """The checkpoint in a witness file.

    Raises:
        WitnessError: unreadable, or not a checkpoint that a known key signed.
    """
    try:
        with path.open("rb") as stream:
            note = stream.read(MAX_NOTE_BYTES + 1)
    except OSError as error:
        raise WitnessError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        return open_checkpoint(note, keys)
    except NoteError as error:
        raise WitnessError(f"{path}: not a checkpoint that a known key signed: {error}") from None


def advance_witness(path: Path, newest: Archive, keys: PublicKeys) -> None:
    """Keep an archive's signed checkpoint, unless another check kept one as large meanwhile.

    Raises:
        OutputError: it cannot be written. WitnessError: what is there now is no checkpoint.
    """
    if not path.exists() or read_witness(path, keys).size < newest.end:
        write_text(path, newest.note.decode("utf-8"), public=True)
