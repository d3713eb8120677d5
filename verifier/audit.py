"""Which records are audited: unpredictable without the auditor's key, checkable with it (design section 7)."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from sampler.errors import WeightwardenError

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 4096


class AuditError(WeightwardenError, ValueError):
    """The audit cannot be drawn: no fit key, an impossible rate, or a sample of nothing."""


def traffic_root(files: Iterable[Path]) -> bytes:
    """What the selection is bound to for unsigned traffic: SHA-256 over the SHA-256 of each file, in order."""
    root = hashlib.sha256()
    for path in files:
        root.update(file_sha256(path))
    return root.digest()


def file_sha256(path: Path) -> bytes:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def read_audit_key(path: Path) -> bytes:
    """The auditor's key: the file's bytes as they are.

    Raises:
        AuditError: unreadable, or too short to be secret; the message never holds the key.
    """
    try:
        with path.open("rb") as stream:
            key = stream.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise AuditError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise AuditError(f"{path}: an audit key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, this file has {len(key)}")
    return key


def select_records(key: bytes, root: bytes, count: int, rate: float) -> list[int]:
    """Indices of the audited records: those whose HMAC-SHA256(key, root || index) is below the rate.

    Each record is selected with probability `rate`, independently to anyone without the key.

    Raises:
        AuditError: rate outside (0, 1], or nothing selected (an audit of nothing is not a pass).
    """
    if not 0 < rate <= 1:
        raise AuditError(f"an audit rate lies in (0, 1], not {rate}")
    limit = int(rate * 2**64)
    chosen = []
    for index in range(count):
        mac = hmac.new(key, root + index.to_bytes(8, "big"), hashlib.sha256).digest()
        if int.from_bytes(mac[:8], "big") < limit:
            chosen.append(index)
    if not chosen:
        raise AuditError(f"no record of {count} was selected at rate {rate}; audit more records at once")
    return chosen
