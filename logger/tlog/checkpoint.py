"""Checkpoints (c2sp.org/tlog-checkpoint): a log's statement about its tree, as a signed note."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from weightwarden.logger.tlog.keys import PublicKeys, SigningKey, canonical_base64, check_name
from weightwarden.logger.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from weightwarden.logger.tlog.signed_note import NoteError, SignatureError, open_note, sign_note
from weightwarden.text import printable

MAX_SIZE = 2**63 - 1
_SIZE = re.compile("0|[1-9][0-9]{0,18}")


class CheckpointError(NoteError):
    """A text that is not a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A log's size and root.

    Attributes:
        origin: the log's name, which is also its keys' name.
        size: number of records.
        root: 32 bytes.
        extensions: further lines, which readers ignore if they do not know them.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            check_name(self.origin)
        except ValueError as error:
            raise CheckpointError(f"its origin: {error}") from None
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointError(f"a size of {self.size}")
        if len(self.root) != HASH_BYTES or (self.size == 0 and self.root != EMPTY_ROOT):
            raise CheckpointError(f"not the root of a tree of {self.size} entries")
        if not all(line and line.isprintable() for line in self.extensions):
            raise CheckpointError("an extension that is empty or holds what cannot be printed")

    def text(self) -> str:
        """The note's text."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint in a note's text.

        Raises:
            CheckpointError: the text is no checkpoint, or not in its canonical form.
        """
        lines = text.split("\n")
        if len(lines) < 4:
            raise CheckpointError("not the three lines origin, size, root")
        origin, size, root, *extensions = lines[:-1]
        if not _SIZE.fullmatch(size):
            raise CheckpointError(f"its size is not a canonical number: {printable(size)}")
        try:
            checkpoint = cls(origin, int(size), canonical_base64(root), tuple(extensions))
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(f"its root is {error}") from None
        if checkpoint.text() != text:
            raise CheckpointError("its text is not the canonical one")
        return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[SigningKey]) -> bytes:
    """The signed note of a checkpoint.

    Raises:
        CheckpointError: a signer's name is not the checkpoint's origin.
    """
    for key in signers:
        if key.name != checkpoint.origin:
            raise CheckpointError(f"a key named {key.name} does not sign for {checkpoint.origin}")
    return sign_note(checkpoint.text(), signers)


def open_checkpoint(note: bytes, keys: PublicKeys) -> Checkpoint:
    """The checkpoint in a note, after the signature of a known key of its origin was verified.

    Raises:
        NoteError: the note is no checkpoint.
        SignatureError: no known key of its origin signed it.
    """
    opened = open_note(note, keys)
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin not in [key.name for key in opened.signed_by]:
        raise SignatureError("the log that it names did not sign it")
    return checkpoint
