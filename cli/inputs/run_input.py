"""What `verify run` verifies: records of traffic files, which anybody may have written, or of archives of a log."""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from weightwarden.cli.inputs.boundary_records import Deciding
from weightwarden.cli.inputs.selected_records import SelectedRecords
from weightwarden.cli.inputs.witness import read_witness
from weightwarden.cli.output_files import read_all_traffic
from weightwarden.cli.progress import counter
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.check import LogCheck, check_archives
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.formats.location import Place, PlacedRecord
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable
from weightwarden.verifier.audit_selection import (
    check_rate,
    draw,
    file_sha256,
    is_drawn,
    nothing_selected,
    read_audit_key,
    select_records,
    traffic_root,
)
from weightwarden.verifier.verification.exposure import Audited

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
            AuditError: an impossible rate. KeyFileError: a key that is none.
        """
        if rate is None or key_path is None:
            return None
        check_rate(rate)
        return cls(rate, read_audit_key(key_path))


@dataclass(frozen=True, kw_only=True)
class Input:
    """The records to verify, and where they are from.

    Attributes:
        records: reads them, from the start each time it is called; only a few are held at once.
        tokens: their output tokens. deciding: some of them; where these fit a model and a policy, all do.
        place: where the record at a place among them stands. indices: their indices in the log, or places among all
            records of the traffic files.
        audited: what they were chosen from, and in which random order. audit_rate: None when they are all.
        digest: names the input: the same records, audited in the same way, have the same.
        digests: "sha256:..." of each traffic file, or of each archive's signed checkpoint.
        signed: whether a log vouches for them. provenance: for the report: enough to find the records again and,
            with the audit key, to check that it chose them. warning: what is taken on trust.
        retokenised: how many of them have output token ids made from text.
    """

    records: Callable[[], Iterator[Record]]
    tokens: int
    deciding: Sequence[PlacedRecord]
    place: Callable[[int], Place]
    indices: Sequence[int]
    audited: Audited
    digest: str
    digests: list[str]
    audit_rate: float | None = None
    signed: bool = False
    provenance: dict[str, Any]
    warning: str | None = None
    retokenised: int = 0


class UnsignedTraffic(WeightwardenError):
    """Traffic files carry no signature, and were not accepted as such."""


def sample_of(rate: float | None, key_path: Path | None) -> Audit | None:
    """The audit that --sample and --audit-key ask for; None for all records.

    Raises:
        UsageError: one of the two without the other. AuditError: an impossible rate, or a key that is none.
    """
    if (rate is None) != (key_path is None):
        raise click.UsageError("--sample and --audit-key go together")
    return Audit.of(rate, key_path)


def read_input(
    arguments: Sequence[str],
    public_key_path: Path | None,
    witness_path: Path | None,
    audit: Audit | None,
    *,
    unsigned: bool,
) -> Input:
    """The records of archives of a log, which are checked, or where there is no key to check them, of traffic files.

    Args:
        unsigned: whether traffic files are accepted.

    Raises:
        UsageError: options that do not go together. UnsignedTraffic: traffic files that are not accepted.
        LogDoesNotHold, TrafficError, AuditError.
    """
    if public_key_path is not None:
        keys = PublicKeys.read(public_key_path)
        witness = None if witness_path is None else read_witness(witness_path, keys)
        return from_archives(archive_urls(arguments), keys, witness, audit)
    if witness_path is not None:
        raise click.UsageError("--witness needs --public-key")
    if not unsigned:
        raise UnsignedTraffic(
            "no --public-key: traffic files are unsigned, whoever wrote them could have written anything;"
            " pass --unsafe-unsigned if you trust how they came here, or archives of a log and --public-key"
        )
    return from_traffic([Path(argument) for argument in arguments], audit)


def from_traffic(paths: Sequence[Path], audit: Audit | None = None) -> Input:
    """Records of traffic files, which are held.

    Raises:
        TrafficError, AuditError.
    """
    everything = read_all_traffic(paths)
    root = traffic_root(paths)
    indices: Sequence[int] = range(len(everything))
    draws: list[int] = []
    if audit is not None:
        indices = select_records(audit.key, root, len(everything), audit.rate)
        draws = [draw(audit.key, root, index) for index in indices]
    placed = [everything[index] for index in indices]
    return Input(
        records=lambda: (item.record for item in placed),
        tokens=sum(len(item.record.output_token_ids) for item in placed),
        deciding=placed,
        place=lambda place: placed[place].at,
        indices=indices,
        audited=Audited.of([len(item.record.output_token_ids) for item in everything], len(indices), draws),
        digest=_digest(root, audit, indices),
        digests=[f"sha256:{file_sha256(path).hex()}" for path in paths],
        audit_rate=audit.rate if audit else None,
        warning="the traffic is unsigned; its seeds and token ids are taken on trust.",
        retokenised=sum(item.retokenised for item in placed),
        provenance={
            "traffic": [str(path) for path in paths],
            "selection": _selection(
                audit, [{"root": root.hex(), "start": 0, "end": len(everything), "selected": list(indices)}]
            ),
        },
    )


def from_archives(
    urls: Sequence[str], keys: PublicKeys, witness: Checkpoint | None, audit: Audit | None = None
) -> Input:
    """Records of archives of one log, which are checked first, in a pass of its own.

    Raises:
        LogDoesNotHold: the check found something. ArchiveUnreadable, OtherLog, AuditError.
    """
    looked = _Looked(audit)
    with counter("Records of the log checked") as progress:
        found = check_archives(urls, keys, witness, looked.look, progress, partial=True)
    if not found.holds:
        raise _does_not_hold(found)
    if not looked.selected and audit is not None:
        raise nothing_selected(found.records, audit.rate)
    selected = SelectedRecords(found.archives, looked.selected)
    newest = found.archives[-1]
    return Input(
        records=selected.records,
        tokens=looked.selected_tokens,
        deciding=looked.deciding,
        place=selected.place,
        indices=selected.indices,
        audited=Audited(
            records=looked.records,
            answered=looked.answered,
            tokens=looked.tokens,
            longest=looked.longest,
            order_r=Audited.order(looked.draws, len(looked.selected)),
        ),
        digest=_digest(b"".join(archive.checkpoint.root for archive in found.archives), audit, selected.indices),
        digests=[f"sha256:{hashlib.sha256(archive.note).hexdigest()}" for archive in found.archives],
        audit_rate=audit.rate if audit else None,
        signed=True,
        warning="; ".join(f"the log was {note}" for note in newest.checkpoint.extensions) or None,
        provenance={
            "log": newest.checkpoint.origin,
            "checkpoint": newest.note.decode("utf-8"),
            "selection": None if audit is None else _selection(audit, selected.ranges()),
        },
    )


class _Looked:
    """What a look at all records of a log leaves: counts, which were selected, and the records that decide whether
    all of them fit a model and a policy.
    """

    def __init__(self, audit: Audit | None) -> None:
        self._audit = audit
        self.records = self.answered = self.tokens = self.longest = self.selected_tokens = 0
        self.selected, self.draws = array("q"), array("Q")
        self._deciding = Deciding()

    @property
    def deciding(self) -> list[PlacedRecord]:
        return self._deciding.records

    def look(self, archive: Archive, index: int, entry: bytes) -> None:
        """Look at a record."""
        record = decode_record(entry)
        tokens = len(record.output_token_ids)
        self.records += 1
        self.answered += tokens > 0
        self.tokens += tokens
        self.longest = max(self.longest, tokens)
        if self._audit is not None:
            drawn = draw(self._audit.key, archive.checkpoint.root, index)
            if not is_drawn(drawn, self._audit.rate):
                return
            self.draws.append(drawn)
        self.selected.append(index)
        self.selected_tokens += tokens
        self._deciding.look(PlacedRecord(record, archive.url, index, "index"))


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
    """Names an audit: what was audited, at which rate, and which records that selected.

    SHA-256 of the JSON text [root, rate, [indices]], written in parts.
    """
    said = hashlib.sha256(json.dumps([root.hex(), None if audit is None else audit.rate, []])[:-2].encode())
    for start in range(0, len(indices), 4096):
        part = ", ".join(str(int(index)) for index in indices[start : start + 4096])
        said.update((", " if start else "").encode() + part.encode())
    said.update(b"]]")
    return said.hexdigest()


def _selection(audit: Audit | None, ranges: list[dict[str, Any]]) -> dict[str, Any] | None:
    if audit is None:
        return None
    return {"method": METHOD, "rate": audit.rate, "ranges": ranges}
