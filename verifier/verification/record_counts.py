"""Counts of records by the server or the adapter that they name, which expose one that differs from the others."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeVar

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.record_verdict import RecordVerdict

Key = TypeVar("Key", bound=Hashable)
AdapterKey = tuple[str, str]
"""Name and digest of an adapter."""


@dataclass(frozen=True)
class RecordCounts:
    """Records that name the same server or adapter, and their tokens.

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

    def __add__(self, other: "RecordCounts") -> "RecordCounts":
        return RecordCounts(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


def counts_by(
    key: Callable[[Record], Key | None], records: Sequence[Record], verdicts: Sequence[RecordVerdict]
) -> dict[Key, RecordCounts]:
    """The counts of every server or adapter that records name.

    Args:
        key: what a record names, or None: it does not count.
        records: the records. Those without a verdict do not count.
        verdicts: their verdicts.
    """
    return merged_counts(
        {
            named: RecordCounts(
                records=1,
                tokens=len(verdict.tokens.exact),
                mismatches=int(np.count_nonzero(~verdict.tokens.exact)),
                dangerous=int(np.count_nonzero(verdict.tokens.verdict == Verdict.DANGEROUS)),
                flagged=int(verdict.flagged),
            )
        }
        for record, verdict in zip(records, verdicts, strict=True)
        if (named := key(record)) is not None and verdict.undefined is None
    )


def replica_of(record: Record) -> str | None:
    """The server that a record names, or None."""
    return record.replica


def adapter_of(record: Record) -> AdapterKey | None:
    """The adapter that a record names, or None."""
    return None if record.adapter is None else (record.adapter.name, record.adapter.digest)


def merged_counts(parts: Iterable[Mapping[Key, RecordCounts]]) -> dict[Key, RecordCounts]:
    """The counts of disjoint records together, in the order of the names."""
    found: dict[Any, RecordCounts] = {}
    for part in parts:
        for named, counts in part.items():
            found[named] = found.get(named, RecordCounts()) + counts
    return dict(sorted(found.items()))
