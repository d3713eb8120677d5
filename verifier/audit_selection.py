"""Audit selection: unpredictable without the audit key, checkable with it (docs/design.md, section 7)."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.private import KeyFileError, read_private

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 4096


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
    """Check that an audit rate is a share of the records.

    Raises:
        AuditError: the rate is outside (0, 1].
    """
    if not 0 < rate <= 1:
        raise AuditError(f"an audit rate lies in (0, 1], not {rate}")


def is_selected(key: bytes, root: bytes, index: int, rate: float) -> bool:
    """True if a record is audited: HMAC-SHA256(key, root || index) is below the rate.

    The first 8 bytes of the MAC are read as a number below 2^64; the index is 8 bytes, big-endian, too. Each record is
    selected with probability `rate`, independently to anyone without the key.

    Args:
        root: root to which the selection is bound. For a log, the root of the archive's checkpoint, which is unknown
            before the range is sealed.
        index: the record's index in the log (in unsigned traffic, its place from 0).

    Raises:
        AuditError: the rate is outside (0, 1].
    """
    check_rate(rate)
    return is_drawn(draw(key, root, index), rate)


def is_drawn(number: int, rate: float) -> bool:
    """True if a record with that number (`draw`) is audited."""
    return number < int(rate * 2**64)


def draw(key: bytes, root: bytes, index: int) -> int:
    """A record's number below 2^64; a small one selects the record.

    Sorted by it, selected records are in random order.
    """
    return int.from_bytes(hmac.digest(key, root + index.to_bytes(8, "big"), "sha256")[:8], "big")


def select_records(key: bytes, root: bytes, count: int, rate: float) -> list[int]:
    """Indices below `count` that are selected.

    Raises:
        AuditError: the rate is outside (0, 1], or nothing is selected (an audit of nothing is not a pass).
    """
    check_rate(rate)
    chosen = [index for index in range(count) if is_selected(key, root, index, rate)]
    if not chosen:
        raise nothing_selected(count, rate)
    return chosen


def nothing_selected(count: int, rate: float) -> NothingSelected:
    """The error of an audit that selected nothing."""
    return NothingSelected(f"no record of {count} was selected at rate {rate}; audit more records at once")
