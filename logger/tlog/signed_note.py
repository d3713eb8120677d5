"""Signed notes (c2sp.org/signed-note): a text, a blank line, and a line for each signature."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from weightwarden.errors import WeightwardenError
from weightwarden.logger.tlog.keys import ID_BYTES, PublicKeys, SigningKey, VerifierKey, canonical_base64
from weightwarden.text import printable

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 64
_SIGNATURE_LINE = re.compile("\N{EM DASH} ([^\\s+]+) ([A-Za-z0-9+/=]+)\n")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class NoteError(WeightwardenError, ValueError):
    """Bytes that are no signed note, or a note with an invalid text."""


class SignatureError(NoteError):
    """A note without a signature of a known key, or with an invalid one."""


class SignatureLine(NamedTuple):
    """One signature of a note, of a known key or not.

    Attributes:
        name: the signer's name.
        key_id: 4 bytes.
        signature: the signature's bytes.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"\N{EM DASH} {self.name} {b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True)
class VerifiedNote:
    """A note's text and its verified signers.

    Attributes:
        text: the text.
        signed_by: the known keys that signed it, at least one.
        signatures: name and key id of all signatures in order, those of unknown keys included.
    """

    text: str
    signed_by: tuple[VerifierKey, ...]
    signatures: tuple[tuple[str, bytes], ...]


def sign_note(text: str, signers: Sequence[SigningKey]) -> bytes:
    """A text with the signatures of all signers.

    Raises:
        NoteError: there is no signer, too many, one twice, or `open_note` would refuse the text.
    """
    _check_text(text)
    if not 1 <= len(signers) <= MAX_SIGNATURES:
        raise NoteError(f"{len(signers)} signers, not 1 to {MAX_SIGNATURES}")
    if len({key.verifier for key in signers}) < len(signers):
        raise NoteError("a key signs a note once, and one of these was given twice")
    lines = [SignatureLine(key.name, key.verifier.key_id, key.sign(text.encode())) for key in signers]
    note = f"{text}\n{''.join(map(str, lines))}".encode()
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"{len(note)} bytes, more than {MAX_NOTE_BYTES}")
    return note


def open_note(data: bytes, keys: PublicKeys, *, max_bytes: int = MAX_NOTE_BYTES) -> VerifiedNote:
    """The text of a note, after the signature of a known key was verified.

    Signatures of unknown keys are ignored. An invalid signature of a known key refuses the note.

    Raises:
        NoteError: the bytes are no signed note.
        SignatureError: no known key signed it, or a known key's signature is invalid.
    """
    text, lines = split_note(data, max_bytes=max_bytes)
    signed_by: list[VerifierKey] = []
    for name, key_id, signature in lines:
        key = keys.find(name, key_id)
        if key is None:
            continue
        if key in signed_by:
            raise NoteError(f"two signatures of {key.name}+{key_id.hex()}")
        if not key.holds(signature, text.encode()):
            raise SignatureError(f"the signature of {key.name}+{key_id.hex()} does not hold")
        signed_by.append(key)
    if not signed_by:
        raise SignatureError("no known key signed it")
    return VerifiedNote(text, tuple(signed_by), tuple((name, key_id) for name, key_id, _ in lines))


def split_note(data: bytes, *, max_bytes: int = MAX_NOTE_BYTES) -> tuple[str, list[SignatureLine]]:
    """The text and the signatures of a note. The signatures are not verified.

    Raises:
        NoteError: the bytes are no signed note.
    """
    if len(data) > max_bytes:
        raise NoteError(f"{len(data)} bytes, more than {max_bytes}")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteError("not UTF-8") from None
    at = note.rfind("\n\n") + 1
    text = note[:at]
    _check_text(text)
    return text, parse_signature_lines(note[at + 1 :])


def unverified_text(data: bytes) -> str:
    """The text of a note without a check of its signatures, for a holder who stored it.

    Raises:
        NoteError: the bytes are no note.
    """
    try:
        text, blank, _ = data.decode("utf-8").rpartition("\n\n")
    except UnicodeDecodeError:
        raise NoteError("not UTF-8") from None
    if not blank:
        raise NoteError("no blank line before signatures")
    return f"{text}\n"


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise NoteError("no text that ends with a line, before a blank line and signatures")
    if _CONTROL.search(text):
        raise NoteError("its text holds control characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NoteError("its text holds what UTF-8 cannot encode") from None


def parse_signature_lines(lines: str) -> list[SignatureLine]:
    """The signatures in signature lines. They are not verified.

    Raises:
        NoteError: a line is malformed, or there are none or too many.
    """
    found, at = [], 0
    while at < len(lines):
        line = _SIGNATURE_LINE.match(lines, at)
        if line is None or _CONTROL.search(line[1]):
            raise NoteError("a signature line is malformed")
        try:
            data = canonical_base64(line[2])
        except ValueError as error:
            raise NoteError(f"the signature of {printable(line[1])} is {error}") from None
        if len(data) <= ID_BYTES:
            raise NoteError(f"the signature of {printable(line[1])} is cut off")
        found.append(SignatureLine(line[1], data[:ID_BYTES], data[ID_BYTES:]))
        at = line.end()
    if not 1 <= len(found) <= MAX_SIGNATURES:
        raise NoteError(f"{len(found)} signatures, not 1 to {MAX_SIGNATURES}")
    return found
