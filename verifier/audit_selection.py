"""Audit selection: unpredictable without the audit key, checkable with it (docs/design.md, section 7)."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.private import KeyFileError, read_private
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 4096
KEY_CONTEXT = b"weightwarden audit key\n"
"""Beginning of the text whose digest identifies an audit key in reports."""
_NUMBER = (
    "record i is selected when HMAC-SHA256(audit key, root || i as 8 bytes, big-endian), first 8 bytes as a big-endian"
    " number, is below floor({probability} * 2^64){where}"
)
METHODS: dict[AuditBy, str] = {
    "records": _NUMBER.format(probability="rate", where=""),
    "tokens": _NUMBER.format(
        probability="min(1, rate * (n + 8) / 1024)", where=" in double precision, n its number of output tokens"
    ),
}
"""The draw in words, by what the rate is a share of."""


class AuditError(WeightwardenError, ValueError):
    """The audit cannot be drawn: the rate is impossible, or there is nothing to sample."""


class NothingSelected(AuditError):
    """The draw selected no record: an audit of nothing is not a pass."""


def traffic_root(digests: Iterable[bytes]) -> bytes:
    """Root of unsigned traffic, to which the selection is bound: SHA-256 over the SHA-256 of each file, in order."""
    return hashlib.sha256(b"".join(digests)).digest()


def file_sha256(path: Path) -> bytes:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def read_audit_key(path: Path) -> bytes:
    """The audit key: the bytes of its file.

    Raises:
        KeyFileError: the file is unreadable, readable by others, or too short to be secret. The message never holds the
            key.
    """
    key = read_private(path)
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        sizes = f"{MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"
        raise KeyFileError(f"{path}: an audit key has {sizes}, this file has {len(key)}")
    return key


def check_rate(rate: float) -> None:
    """Check that an audit rate is in its range.

    Raises:
        AuditError: the rate is outside (0, 1].
    """
    if not 0 < rate <= 1:
        raise AuditError(f"an audit rate lies in (0, 1], not {rate}")


@dataclass(frozen=True)
class AuditDraw:
    """The random draw of the records to replay.

    Each record is drawn with its probability, independently to anyone without the key. The probability depends only on
    the record's length, which the sealed log fixes, and on constants: other records cannot move it.

    Attributes:
        rate: share of the records; by tokens, of the records of 1,016 output tokens. In (0, 1].
        key: audit key that draws them.
        by: "records" for one probability for all records, "tokens" for one in proportion to their tokens.
    """

    rate: float
    key: bytes = field(repr=False)
    by: AuditBy = "records"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    @classmethod
    def of(cls, rate: float | None, key_path: Path | None, by: AuditBy = "records") -> "AuditDraw | None":
        """The draw from a rate and a key file; None, for all records, without them.

        Raises:
            AuditError: the rate is outside (0, 1], one of the two is missing, or both are, and `by` is not the default.
            KeyFileError: the key cannot be used.
        """
        if rate is None and key_path is None:
            if by != "records":
                raise AuditError(f"an audit by {by} has a rate and an audit key")
            return None
        if rate is None or key_path is None:
            raise AuditError("an audit rate and an audit key go together")
        check_rate(rate)
        return cls(rate, read_audit_key(key_path), by)

    @property
    def design(self) -> SamplingDesign:
        """The sampling design, without the key."""
        return SamplingDesign(self.rate, self.by)

    @property
    def key_digest(self) -> str:
        """Digest "sha256:..." that identifies the key in reports. Its holder can compute it, and nobody the key."""
        return f"sha256:{hashlib.sha256(KEY_CONTEXT + self.key).hexdigest()}"

    def probability(self, tokens: float) -> float:
        """Probability, in (0, 1], with which a record of so many output tokens is drawn."""
        return self.design.probability(tokens)

    def probabilities(self, tokens_r: Sequence[int]) -> FloatArray:
        """`probability` of each record [records]."""
        return self.design.probabilities(tokens_r)

    def place(self, root: bytes, index: int, tokens: int) -> int | None:
        """A selected record's place in a random order, below 2^64; None where the record is not selected.

        The place is its number (`draw`) by its threshold. It is uniform for every length, where the numbers themselves
        would sort short records first.

        Args:
            root: root to which the selection is bound. For a log, the root of the archive's checkpoint, which is
                unknown before the range is sealed.
            index: the record's index in the log (in unsigned traffic, its place from 0).
            tokens: its output tokens.
        """
        number, probability = draw(self.key, root, index), self.probability(tokens)
        return number * 2**64 // threshold(probability) if is_drawn(number, probability) else None

    def selects(self, root: bytes, index: int, tokens: int) -> bool:
        """True if a record is audited (arguments of `place`)."""
        return self.place(root, index, tokens) is not None


def threshold(probability: float) -> int:
    """The number below which a record with that probability is selected: floor(probability * 2^64)."""
    return int(probability * 2**64)


def is_drawn(number: int, probability: float) -> bool:
    """True if a record with that number (`draw`) and that probability is audited."""
    return number < threshold(probability)


def draw(key: bytes, root: bytes, index: int) -> int:
    """A record's number: the first 8 bytes of HMAC-SHA256(key, root || index), the index in 8 bytes, big-endian.

    A small one selects the record.
    """
    return int.from_bytes(hmac.digest(key, root + index.to_bytes(8, "big"), "sha256")[:8], "big")


def select_records(audit: AuditDraw, root: bytes, tokens_r: Sequence[int]) -> dict[int, int]:
    """The places of the selected records in a random order (`AuditDraw.place`), by their indices, which ascend.

    Args:
        audit: the draw.
        root: root to which it is bound (`AuditDraw.selects`).
        tokens_r: output tokens of each record.

    Raises:
        NothingSelected: an audit of nothing is not a pass.
    """
    chosen = {
        index: place for index, tokens in enumerate(tokens_r) if (place := audit.place(root, index, tokens)) is not None
    }
    if not chosen:
        raise nothing_selected(len(tokens_r), audit.design)
    return chosen


def nothing_selected(count: int, design: SamplingDesign) -> NothingSelected:
    """The error of an audit that selected nothing."""
    by = "" if design.by == "records" else f" by {design.by}"
    return NothingSelected(f"no record of {count} was selected at rate {design.rate}{by}; audit more records at once")
