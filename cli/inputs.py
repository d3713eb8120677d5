"""What `verify run` verifies: records of traffic files, which anybody may have written, or of archives of a log."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.files import read_all_traffic
from cli.progress import counter
from logger.archive.check import LogCheck, check_archives
from logger.archive.reader import Archive
from logger.checkpoint import Checkpoint
from logger.encoding import decode_record
from logger.keys import PublicKeys
from logger.placed import PlacedRecord
from sampler.errors import WeightwardenError, printable
from verifier.audit import check_rate, draw, is_selected, nothing_selected, read_audit_key, select_records, traffic_root
from verifier.exposure import Audited

METHOD = (
    "record i is selected when HMAC-SHA256(audit key, root || i as 8 bytes, big-endian), first 8 bytes as a big-endian"
    " number, is below floor(rate * 2^64)"
)


class LogDoesNotHold(WeightwardenError, ValueError):
    """The archives are not the log that the key's holder sealed, so that nothing in them is worth replaying."""


@dataclass(frozen=True)
class Audit:
    """Which share of the records is replayed, and the key that chooses them."""

    rate: float
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, rate: float | None, key_path: Path | None) -> "Audit | None":
        """The audit that --sample and --audit-key ask for; None for all records.

        Raises:
            AuditError: an impossible rate, or a key that is none.
        """
        if rate is None or key_path is None:
            return None
        check_rate(rate)
        return cls(rate, read_audit_key(key_path))


@dataclass(frozen=True, kw_only=True)
class Input:
    """The records to verify, and where they are from.

    Attributes:
        placed: the records. indices: their indices in the log, or places among all records of the traffic files.
        audited: what they were chosen from, and in which random order. audit_rate: None when they are all.
        digest: names the input: the same records, audited in the same way, have the same.
        signed: whether a log vouches for them. provenance: for the report: enough to find the records again and,
            with the audit key, to check that it chose them. warning: what is taken on trust.
    """

    placed: Sequence[PlacedRecord]
    indices: Sequence[int]
    audited: Audited
    digest: str
    audit_rate: float | None = None
    signed: bool = False
    provenance: dict[str, Any]
    warning: str | None = None


def from_traffic(paths: Sequence[Path], audit: Audit | None = None) -> Input:
    """Records of traffic files.

    Raises:
        TrafficError, AuditError.
    """
    placed = read_all_traffic(paths)
    root = traffic_root(paths)
    indices: Sequence[int] = range(len(placed))
    draws: list[int] = []
    if audit is not None:
        indices = select_records(audit.key, root, len(placed), audit.rate)
        draws = [draw(audit.key, root, index) for index in indices]
    return Input(
        placed=[placed[i] for i in indices],
        indices=indices,
        audited=Audited.of([len(item.record.output_token_ids) for item in placed], len(indices), draws),
        digest=_digest(root, audit, indices),
        audit_rate=audit.rate if audit else None,
        warning="the traffic is unsigned; its seeds and token ids are taken on trust.",
        provenance={
            "traffic": [str(path) for path in paths],
            "selection": _selection(
                audit, [{"root": root.hex(), "start": 0, "end": len(placed), "selected": list(indices)}]
            ),
        },
    )


def from_archives(
    urls: Sequence[str], keys: PublicKeys, witness: Checkpoint | None, audit: Audit | None = None
) -> Input:
    """Records of archives of one log, which are checked in the same pass.

    Raises:
        LogDoesNotHold: the check found something. ArchiveUnreadable, OtherLog, AuditError.
    """
    placed: list[PlacedRecord] = []
    chosen: dict[str, list[int]] = {url: [] for url in urls}
    tokens: list[int] = []
    draws: list[int] = []

    def keep(archive: Archive, index: int, entry: bytes) -> None:
        record = decode_record(entry)
        tokens.append(len(record.output_token_ids))
        if audit is not None:
            if not is_selected(audit.key, archive.checkpoint.root, index, audit.rate):
                return
            draws.append(draw(audit.key, archive.checkpoint.root, index))
        placed.append(PlacedRecord(record, archive.url, index, "index"))
        chosen[archive.url].append(index)

    with counter("Records of the log checked") as progress:
        found = check_archives(urls, keys, witness, keep, progress, partial=True)
    if not found.holds:
        raise _does_not_hold(found)
    if not placed and audit is not None:
        raise nothing_selected(found.records, audit.rate)
    ranges = [
        {
            "archive": archive.url,
            "root": archive.checkpoint.root.hex(),
            "start": archive.start,
            "end": archive.end,
            "selected": chosen[archive.url],
        }
        for archive in found.archives
    ]
    newest = found.archives[-1]
    return Input(
        placed=placed,
        indices=[item.number for item in placed],
        audited=Audited.of(tokens, len(placed), draws),
        digest=_digest(
            b"".join(archive.checkpoint.root for archive in found.archives), audit, [item.number for item in placed]
        ),
        audit_rate=audit.rate if audit else None,
        signed=True,
        warning="; ".join(f"the log was {note}" for note in newest.checkpoint.extensions) or None,
        provenance={
            "log": newest.checkpoint.origin,
            "checkpoint": newest.note.decode("utf-8"),
            "selection": _selection(audit, ranges),
        },
    )


def check_whole(urls: Sequence[str], keys: PublicKeys) -> None:
    """Check archives against each other, and keep nothing of them.

    Raises:
        LogDoesNotHold: the check found something. ArchiveUnreadable, OtherLog.
    """
    with counter("Records of the log checked") as progress:
        found = check_archives(urls, keys, None, lambda archive, index, entry: None, progress, partial=True)
    if not found.holds:
        raise _does_not_hold(found)


def _does_not_hold(found: LogCheck) -> LogDoesNotHold:
    first = found.findings[0]
    more = f" (and {len(found.findings) - 1} more; `verify log check` tells all)" if len(found.findings) > 1 else ""
    return LogDoesNotHold(
        f"the log does not hold, nothing was replayed: {first.kind}: {printable(first.where)}: {first.what}{more}"
    )


def _digest(root: bytes, audit: Audit | None, indices: Sequence[int]) -> str:
    """Names an audit: what was audited, at which rate, and which records that selected."""
    said = [root.hex(), None if audit is None else audit.rate, list(indices)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _selection(audit: Audit | None, ranges: list[dict[str, Any]]) -> dict[str, Any] | None:
    if audit is None:
        return None
    return {"method": METHOD, "rate": audit.rate, "ranges": ranges}
