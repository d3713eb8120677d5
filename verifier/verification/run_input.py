"""The input of a run: records of traffic files, which are unsigned, or of archives of a log, which are checked here."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.check import LogCheck, check_archives
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.formats.location import Place, PlacedRecord
from weightwarden.logger.formats.traffic_file import read_traffic_file
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable
from weightwarden.verifier.audit_selection import (
    METHODS,
    AuditDraw,
    nothing_selected,
    select_records,
    traffic_root,
)
from weightwarden.verifier.scoring.release_ledger import ReleaseCounter, ReleaseTable
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.boundary_records import BoundaryRecords
from weightwarden.verifier.verification.input_file import ArchiveInput, InputFile, TrafficInput
from weightwarden.verifier.verification.length_table import LengthTable
from weightwarden.verifier.verification.selected_records import SelectedRecords


class LogDoesNotHold(WeightwardenError, ValueError):
    """The archives are not the log that the key's holder sealed: none of their records is replayed."""


@dataclass(frozen=True, kw_only=True)
class RunInput:
    """The records to verify, and their source.

    Attributes:
        records: iterates over the records from the start at each call, and holds only a few at once.
        tokens: output tokens of the records.
        boundary: boundary records; if these fit a model and a policy, all records do.
        place: gives the location of the record at a place among the records.
        indices: indices of the records in the log, or their places among all records of the traffic files.
        audited: the population they were drawn from, and their random order.
        releases: counts of the releases of all records, audited or not.
        digest: identifies the input: equal for the same records drawn in the same way.
        digests: "sha256:..." of each traffic file, or of each archive's signed checkpoint.
        design: sampling design with which the records were drawn; None when all records are audited.
        inputs: the traffic files or archives, in order.
        signed: whether the records come from a signed log.
        provenance: the report's entries to find the records again and, with the audit key, to check their draw.
        warning: what the run takes on trust.
        retokenised: number of re-tokenised records.
    """

    records: Callable[[], Iterator[Record]]
    tokens: int
    boundary: Sequence[PlacedRecord]
    place: Callable[[int], Place]
    indices: Sequence[int]
    audited: AuditedPopulation
    releases: ReleaseTable
    digest: str
    digests: list[str]
    inputs: Sequence[InputFile]
    design: SamplingDesign | None = None
    signed: bool = False
    provenance: dict[str, Any]
    warning: str | None = None
    retokenised: int = 0

    @property
    def audit_rate(self) -> float | None:
        """Rate of the draw; None when all records are audited."""
        return None if self.design is None else self.design.rate

    def placed(self) -> Iterator[PlacedRecord]:
        """The records with their locations, so that an error can name file and line."""
        for place, record in enumerate(self.records()):
            at = self.place(place)
            yield PlacedRecord(record, at.source, at.number, at.unit)


def from_traffic(paths: Sequence[Path], audit: AuditDraw | None = None) -> RunInput:
    """The input from traffic files. The records are held in memory.

    Raises:
        TrafficError: a traffic file cannot be read, or holds something that is not a record.
        AuditError: the draw selects no record, or cannot be made.
    """
    files = [(path, read_traffic_file(path)) for path in paths]
    everything = [placed for _, file in files for placed in file.records]
    root = traffic_root([file.sha256 for _, file in files])
    tokens_r = [len(item.record.output_token_ids) for item in everything]
    releases = ReleaseCounter()
    for item in everything:
        releases.add(item.record)
    indices: Sequence[int] = range(len(everything))
    draws: list[int] = []
    if audit is not None:
        drawn = select_records(audit, root, tokens_r)
        indices, draws = list(drawn), list(drawn.values())
    placed = [everything[index] for index in indices]
    return RunInput(
        records=lambda: (item.record for item in placed),
        tokens=sum(len(item.record.output_token_ids) for item in placed),
        boundary=placed,
        place=lambda place: placed[place].at,
        indices=indices,
        audited=AuditedPopulation.of(
            [tokens_r[index] for index in indices],
            draws,
            LengthTable.of(Counter(tokens_r) - Counter(tokens_r[index] for index in indices)),
            audit.design if audit else None,
        ),
        releases=releases.table,
        digest=audit_digest(root, audit.design if audit else None, indices),
        digests=[f"sha256:{file.sha256.hex()}" for _, file in files],
        inputs=[
            TrafficInput(path=str(path), sha256=file.sha256.hex(), records=len(file.records)) for path, file in files
        ],
        design=audit.design if audit else None,
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
    urls: Sequence[str],
    keys: PublicKeys,
    seen: Checkpoint | None,
    audit: AuditDraw | None = None,
    progress: Callable[[int], None] | None = None,
    quorum: Quorum | None = None,
) -> RunInput:
    """The input from archives of one log, which are checked first, in a separate pass.

    Args:
        urls: URLs of the archives.
        keys: public keys that may have signed the log.
        seen: checkpoint of the log that was seen before; the archives must extend it.
        audit: draw of the records; None for all.
        progress: called with the number of records just checked.
        quorum: the witnesses that must have cosigned the newest archive's checkpoint, or None.

    Raises:
        LogDoesNotHold: the check found a fault.
        ArchiveUnreadable: an archive cannot be read.
        OtherLog: an archive belongs to another log.
        AuditError: the draw selects no record.
    """
    scan = LogScan(audit)
    found = check_archives(urls, keys, seen, scan.add, progress or _silent, partial=True, quorum=quorum)
    if not found.holds:
        raise _does_not_hold(found)
    if not scan.selected and audit is not None:
        raise nothing_selected(found.records, audit.design)
    selected = SelectedRecords(found.archives, scan.selected)
    newest = found.archives[-1]
    return RunInput(
        records=selected.records,
        tokens=sum(scan.tokens),
        boundary=scan.boundary,
        place=selected.place,
        indices=selected.indices,
        audited=AuditedPopulation.of(
            scan.tokens, scan.draws, LengthTable.of(scan.unaudited), audit.design if audit else None
        ),
        releases=scan.releases.table,
        digest=audit_digest(
            b"".join(archive.checkpoint.root for archive in found.archives),
            audit.design if audit else None,
            selected.indices,
        ),
        inputs=[ArchiveInput.of(archive) for archive in found.archives],
        digests=[f"sha256:{hashlib.sha256(archive.note).hexdigest()}" for archive in found.archives],
        design=audit.design if audit else None,
        signed=True,
        warning="; ".join(f"the log was {note}" for note in newest.checkpoint.extensions) or None,
        provenance={
            "log": newest.checkpoint.origin,
            "checkpoint": newest.note.decode("utf-8"),
            "selection": None if audit is None else _selection(audit, selected.ranges()),
        },
    )


class LogScan:
    """One pass over all records of a log: all releases, the draw, the boundary records of the drawn ones, and the
    lengths of the others.

    Attributes:
        selected: indices of the drawn records.
        tokens: their output tokens.
        draws: their places in the draw; empty where all records are audited.
        unaudited: number of the other records by output tokens.
        releases: counts of the releases of all records.
    """

    def __init__(self, audit: AuditDraw | None) -> None:
        self._audit = audit
        self.selected, self.tokens, self.draws = array("q"), array("q"), array("Q")
        self.unaudited: Counter[int] = Counter()
        self.releases = ReleaseCounter()
        self._boundary = BoundaryRecords()

    @property
    def boundary(self) -> list[PlacedRecord]:
        return self._boundary.records

    def add(self, archive: Archive, index: int, entry: bytes) -> None:
        """Add a record, and keep it if it is drawn."""
        record = decode_record(entry)
        self.releases.add(record)
        tokens = len(record.output_token_ids)
        if self._audit is not None:
            drawn = self._audit.place(archive.checkpoint.root, index, tokens)
            if drawn is None:
                self.unaudited[tokens] += 1
                return
            self.draws.append(drawn)
        self.selected.append(index)
        self.tokens.append(tokens)
        self._boundary.add(PlacedRecord(record, archive.url, index, "index"))


def check_whole(urls: Sequence[str], keys: PublicKeys, progress: Callable[[int], None] | None = None) -> None:
    """Check archives against each other, and keep none of their records.

    Args:
        progress: called with the number of records just checked.

    Raises:
        LogDoesNotHold: the check found a fault.
        ArchiveUnreadable: an archive cannot be read.
        OtherLog: an archive belongs to another log.
    """
    found = check_archives(urls, keys, None, lambda archive, index, entry: None, progress or _silent, partial=True)
    if not found.holds:
        raise _does_not_hold(found)


def _silent(_: int) -> None:
    """No progress."""


def _does_not_hold(found: LogCheck) -> LogDoesNotHold:
    first = found.findings[0]
    more = f" (and {len(found.findings) - 1} more; `verify log check` tells all)" if len(found.findings) > 1 else ""
    return LogDoesNotHold(
        f"the log does not hold, nothing was replayed: {first.kind}: {printable(first.where)}: {first.what}{more}"
    )


def audit_digest(root: bytes, design: SamplingDesign | None, indices: Sequence[int]) -> str:
    """Digest of an audit: its input, its draw, and the records that it drew.

    SHA-256 of the JSON text [root, rate, [indices]], by tokens [root, rate, "tokens", [indices]], written in parts.

    Args:
        root: root of the traffic files, or the roots of the archives' checkpoints, one after another.
        design: sampling design; None where all records were audited.
        indices: indices of the audited records.
    """
    drawn: list[Any] = [None if design is None else design.rate]
    if design is not None and design.by != "records":
        drawn.append(design.by)
    said = hashlib.sha256(json.dumps([root.hex(), *drawn, []])[:-2].encode())
    for start in range(0, len(indices), 4096):
        part = ", ".join(str(int(index)) for index in indices[start : start + 4096])
        said.update((", " if start else "").encode() + part.encode())
    said.update(b"]]")
    return said.hexdigest()


def _selection(audit: AuditDraw | None, ranges: list[dict[str, Any]]) -> dict[str, Any] | None:
    if audit is None:
        return None
    return {
        "method": METHODS[audit.by],
        "rate": audit.rate,
        "by": audit.by,
        "key_digest": audit.key_digest,
        "ranges": ranges,
    }
