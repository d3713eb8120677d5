"""Counts of records by the server that answered them, which expose one that differs from the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.record_verdict import RecordVerdict


@dataclass(frozen=True)
class ReplicaCounts:
    """Records of one server, and their tokens.

    Attributes:
        records: records with a verdict.
        tokens: their output tokens.
        mismatches: tokens that are not the replay's own choice.
        dangerous: dangerous tokens.
        flagged: flagged records.
    """

    records: int = 0
    tokens: int = 0
    mismatches: int = 0
    dangerous: int = 0
    flagged: int = 0

    def __add__(self, other: "ReplicaCounts") -> "ReplicaCounts":
        return ReplicaCounts(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


def counts_by_replica(records: Sequence[Record], verdicts: Sequence[RecordVerdict]) -> dict[str, ReplicaCounts]:
    """The counts of every server that records name. Records that name none, or have no verdict, do not count."""
    return merged_counts(
        {
            record.replica: ReplicaCounts(
                records=1,
                tokens=len(verdict.tokens.exact),
                mismatches=int(np.count_nonzero(~verdict.tokens.exact)),
                dangerous=int(np.count_nonzero(verdict.tokens.verdict == Verdict.DANGEROUS)),
                flagged=int(verdict.flagged),
            )
        }
        for record, verdict in zip(records, verdicts, strict=True)
        if record.replica is not None and verdict.undefined is None
    )


def merged_counts(parts: Iterable[Mapping[str, ReplicaCounts]]) -> dict[str, ReplicaCounts]:
    """The counts of disjoint records together, by name of the server."""
    found: dict[str, ReplicaCounts] = {}
    for part in parts:
        for name, counts in part.items():
            found[name] = found.get(name, ReplicaCounts()) + counts
    return dict(sorted(found.items()))
