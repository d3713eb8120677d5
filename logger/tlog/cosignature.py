"""Cosignatures (c2sp.org/tlog-cosignature, Ed25519): a witness's timestamped signature of a log's checkpoint.

A witness is an independent server that cosigns a checkpoint only if it extends every checkpoint of the log that it
cosigned before. With cosignatures of more than half of the witnesses that every auditor lists, a log has one history,
unless witnesses lie, too: two histories would need a witness that cosigned both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.tlog.checkpoint import MAX_SIZE
from weightwarden.logger.tlog.keys import SIGNATURE_BYTES, VerifierKey, read_keys
from weightwarden.logger.tlog.signed_note import (
    NoteError,
    SignatureError,
    SignatureLine,
    parse_signature_lines,
    split_note,
)

TIME_BYTES = 8
MAX_TIME = MAX_SIZE


class WitnessKey(VerifierKey):
    """A witness's public key, written `name+id+base64(0x04 || key)`."""

    algorithm = b"\x04"
    algorithm_name = "Ed25519 cosignature (4)"
    signature_bytes = TIME_BYTES + SIGNATURE_BYTES

    def holds(self, signature: bytes, text: bytes) -> bool:
        """True if the witness cosigned the checkpoint with this text."""
        time = int.from_bytes(signature[:TIME_BYTES], "big")
        return time <= MAX_TIME and super().holds(signature[TIME_BYTES:], cosigned_text(time, text))


def cosigned_text(time: int, text: bytes) -> bytes:
    """The bytes that a witness signs: two lines, then the checkpoint's text.

    Args:
        time: Unix time of the cosignature, seconds.
        text: the checkpoint's text without its signatures.
    """
    return b"cosignature/v1\ntime %d\n" % time + text


@dataclass(frozen=True)
class Cosignature:
    """A valid cosignature.

    Attributes:
        witness: the witness's key.
        time: Unix time at which the witness made it, by its own clock, seconds.
        line: the signature line.
    """

    witness: WitnessKey
    time: int
    line: SignatureLine


class WitnessKeys:
    """The keys of the witnesses that an operator or an auditor lists, at most one of each witness."""

    def __init__(self, *keys: WitnessKey) -> None:
        """A list of witnesses.

        Raises:
            KeyFileError: a public key or a name is given twice: one witness would count as two.
        """
        self._keys = {(key.name, key.key_id): key for key in keys}
        if len({key.public for key in keys}) < len(keys) or len({key.name for key in keys}) < len(keys):
            raise KeyFileError("lists a witness twice: two keys of one name, or two names of one key")

    @classmethod
    def read(cls, path: Path) -> "WitnessKeys":
        """The keys in a file, one a line. Empty lines and lines that begin with # are skipped.

        Raises:
            KeyFileError: the file is unreadable, has no key, too many, a witness twice, or an invalid line.
        """
        keys = read_keys(path, WitnessKey.parse)
        try:
            return cls(*keys)
        except KeyFileError as error:
            raise KeyFileError(f"{path}: {error}") from None

    def __len__(self) -> int:
        return len(self._keys)

    def cosignatures(self, note: bytes) -> list[Cosignature]:
        """The cosignatures of listed witnesses in a checkpoint's note. Signatures of others are ignored.

        Raises:
            NoteError: the bytes are no note, or a witness's signature is there twice.
            SignatureError: a listed witness's signature is invalid.
        """
        text, lines = split_note(note)
        return self.verified(text, lines)

    def verified(self, text: str, lines: Sequence[SignatureLine]) -> list[Cosignature]:
        """The cosignatures of listed witnesses among signature lines under a checkpoint's text.

        Raises:
            NoteError: a witness's signature is there twice.
            SignatureError: a listed witness's signature is invalid.
        """
        found: dict[WitnessKey, Cosignature] = {}
        for line in lines:
            key = self._keys.get((line.name, line.key_id))
            if key is None:
                continue
            if key in found:
                raise NoteError(f"two cosignatures of {key.name}+{key.key_id.hex()}")
            if not key.holds(line.signature, text.encode()):
                raise SignatureError(f"the cosignature of {key.name}+{key.key_id.hex()} does not hold")
            found[key] = Cosignature(key, int.from_bytes(line.signature[:TIME_BYTES], "big"), line)
        return list(found.values())


class QuorumError(KeyFileError):
    """A number of witnesses that cannot be required, or that would not prevent two histories."""


@dataclass(frozen=True)
class Quorum:
    """The witnesses that an auditor lists, and how many of them must have cosigned.

    A second history that passes needs `2 * least - len(witnesses)` witnesses that cosigned both.

    Attributes:
        witnesses: the listed witnesses.
        least: smallest number of cosignatures, more than half of the witnesses.
    """

    witnesses: WitnessKeys
    least: int

    def __post_init__(self) -> None:
        count = len(self.witnesses)
        if self.least > count:
            raise QuorumError(f"{self.least} witnesses are required, and {count} are listed")
        if 2 * self.least <= count:
            raise QuorumError(
                f"{self.least} of {count} witnesses can cosign one history, and the others a second one, though none of"
                f" them lies: require at least {count // 2 + 1}, or list fewer"
            )

    def missing(self, found: Sequence[Cosignature]) -> str | None:
        """The lack of cosignatures as a clause, or None if there are enough."""
        if len(found) >= self.least:
            return None
        names = ", ".join(sorted(one.witness.name for one in found)) or "none"
        return f"{len(found)} of {len(self.witnesses)} witnesses cosigned it ({names}), and {self.least} are required"


def with_cosignatures(note: bytes, lines: Sequence[SignatureLine]) -> bytes:
    """A checkpoint's note with further signature lines at its end."""
    return note + "".join(map(str, lines)).encode()


def recorded_cosignature(text: str, key: str, line: str) -> SignatureLine | None:
    """The signature line of a recorded cosignature, or None if it is none of the recorded key on the text."""
    try:
        witness, lines = WitnessKey.parse(key), parse_signature_lines(line)
        found = WitnessKeys(witness).verified(text, lines)
    except (KeyFileError, NoteError):
        return None
    return found[0].line if found else None
