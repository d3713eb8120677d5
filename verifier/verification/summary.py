"""Summary of judged records: a few numbers of each, and the evidence about the worst.

Summaries of disjoint records can be merged in any order and grouping (`merged`). Sorted by record (`ordered`), the
result is always the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.columns import Columns
from weightwarden.verifier.scoring.ledger import RecordCharges
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.record_counts import (
    AdapterKey,
    RecordCounts,
    adapter_of,
    counts_by,
    merged_counts,
    replica_of,
)
from weightwarden.verifier.verification.record_verdict import RecordVerdict
from weightwarden.verifier.verification.tally import Tally
from weightwarden.verifier.verification.work_unit import WorkUnit

SHOWN_RECORDS = 50
"""Number of records whose tokens are kept: the least plausible ones."""
MARGIN_ENDS = np.array([-np.inf, *MARGIN_EDGES, np.finfo(float).max, np.inf])
"""Edges of the margin bins: 0, the bins of `MARGIN_EDGES`, margins beyond them, and tokens outside the support."""


@dataclass(frozen=True)
class FlaggedRecord:
    """A flagged record in short.

    Attributes:
        place: place among the records of the run.
        reasons: reasons why the record is flagged.
        p_value: `RecordVerdict.p_value`.
        tokens: output tokens.
        outliers: outliers among them.
    """

    place: int
    reasons: list[str]
    p_value: float
    tokens: int
    outliers: int


@dataclass(frozen=True)
class ShownRecord:
    """A record with scores and verdicts of its tokens."""

    verdict: RecordVerdict
    output_token_ids: list[int]

    @property
    def rank(self) -> tuple[bool, float, int, int]:
        """Sort key that puts the least plausible record first."""
        verdict = self.verdict
        return (not verdict.flagged, verdict.p_value, -verdict.evidence.outliers, verdict.index)


@dataclass(frozen=True)
class UnverifiableRecord:
    """A record that has no verdict, so that its tokens could hold anything.

    Attributes:
        place: place among the records of the run.
        tokens: output tokens.
        deaths: workers that the record crashed.
        why: the reason, in words.
    """

    place: int
    tokens: int
    deaths: int
    why: str


@dataclass(frozen=True, kw_only=True)
class RecordColumns(Columns):
    """A few numbers of each record.

    Attributes:
        place_r: place among the records of the run.
        verified_r: false for an unverifiable record.
        p_value_r: `RecordVerdict.p_value`; 1 for an unverifiable record.
        outliers_r: outliers among the record's tokens (`RecordEvidence`).
        charged_bits_r: information charged for the record's tokens, bits.
        stop_bits_r: information charged for an early stop, bits.
        tied_r: safe positions with more than one admissible token among those whose logits are known.
        unresolved_r: positions where a token whose logit is not known might have won.
        unresolved_bits_r: the part of the information charged that is due to unresolved positions, bits.
        unsteady_r: positions that rounding errors decide: they are charged, and are no evidence.
        outside_grammar_r: tokens outside the request's grammar.
        forced_r: forced tokens: the sidecar put them in, and the replay has no row for them.
        flagged_r: whether the record is flagged.
        early_stop_r: whether the record ends early.
    """

    place_r: IntArray
    verified_r: BoolArray
    p_value_r: FloatArray
    outliers_r: IntArray
    charged_bits_r: FloatArray
    stop_bits_r: FloatArray
    tied_r: IntArray
    unresolved_r: IntArray
    unresolved_bits_r: FloatArray
    unsteady_r: IntArray
    outside_grammar_r: IntArray
    forced_r: IntArray
    flagged_r: BoolArray
    early_stop_r: BoolArray

    @classmethod
    def of(cls, places: Sequence[int], records: Sequence[RecordVerdict], charges: RecordCharges) -> "RecordColumns":
        """The columns of judged records."""
        verified_r = np.array([record.undefined is None for record in records])
        charged_r = np.array([record.tokens.charged_bits.sum() for record in records])
        return cls(
            place_r=np.array(places, np.int64),
            verified_r=verified_r,
            p_value_r=np.array([record.p_value for record in records]),
            outliers_r=np.array([record.evidence.outliers for record in records], np.int64),
            charged_bits_r=np.where(verified_r, charged_r, charges.counting_bits_r),
            stop_bits_r=np.array([record.stop_bits for record in records]),
            tied_r=np.array([_tied(record) for record in records]),
            unresolved_r=np.array([(record.tokens.unseen > 0).sum() for record in records]),
            unresolved_bits_r=np.array([_unresolved_bits(record) for record in records]),
            unsteady_r=np.array([record.tokens.unsteady.sum() for record in records], np.int64),
            outside_grammar_r=np.array([record.tokens.outside_grammar.sum() for record in records], np.int64),
            forced_r=np.array([record.forced[0] for record in records], np.int64),
            flagged_r=np.array([record.flagged for record in records]),
            early_stop_r=np.array([record.early_stop for record in records]),
        )

    @classmethod
    def of_unverifiable(cls, place: int, bits: float) -> "RecordColumns":
        """The columns of one unverifiable record, charged with `bits`."""
        return cls(
            place_r=np.array([place]),
            verified_r=np.array([False]),
            p_value_r=np.array([1.0]),
            outliers_r=np.array([0]),
            charged_bits_r=np.array([bits]),
            stop_bits_r=np.array([0.0]),
            tied_r=np.array([0]),
            unresolved_r=np.array([0]),
            unresolved_bits_r=np.array([0.0]),
            unsteady_r=np.array([0]),
            outside_grammar_r=np.array([0]),
            forced_r=np.array([0]),
            flagged_r=np.array([False]),
            early_stop_r=np.array([False]),
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Judged records in short.

    Attributes:
        columns: a few numbers of every record.
        tally: charges of the records.
        margins_b: replayed tokens by margin, in the bins of `MARGIN_ENDS`.
        flagged: all flagged records.
        shown: the least plausible records, at most `SHOWN_RECORDS`, flagged or not.
        unverifiable: all records without a verdict.
        replicas: counts of the records that name the server that answered, by its name.
        adapters: counts of the records that name an adapter, by its name and digest.
    """

    columns: RecordColumns
    tally: Tally
    margins_b: IntArray
    flagged: list[FlaggedRecord]
    shown: list[ShownRecord]
    unverifiable: list[UnverifiableRecord]
    replicas: dict[str, RecordCounts]
    adapters: dict[AdapterKey, RecordCounts]

    def __len__(self) -> int:
        """Number of records."""
        return len(self.columns)

    @property
    def charges(self) -> RecordCharges:
        return self.tally.charges

    @classmethod
    def of(cls, unit: WorkUnit, found: Judgement) -> "Summary":
        """The summary of a judged unit."""
        placed = [replace(verdict, index=place) for verdict, place in zip(found.records, unit.places, strict=True)]
        shown = [ShownRecord(verdict, r.output_token_ids) for verdict, r in zip(placed, unit.records, strict=True)]
        margins = np.concatenate([record.tokens.margin[~record.tokens.forced] for record in placed])
        bins = np.searchsorted(MARGIN_ENDS[1:], margins)
        return cls(
            columns=RecordColumns.of(unit.places, placed, found.charges),
            tally=found.tally,
            margins_b=np.bincount(bins, minlength=len(MARGIN_ENDS) - 1).astype(np.int64),
            flagged=[_in_short(record) for record in placed if record.flagged],
            shown=_worst(record for record in shown if record.verdict.undefined is None),
            unverifiable=[
                UnverifiableRecord(record.index, record.evidence.tokens, 0, record.undefined)
                for record in placed
                if record.undefined is not None
            ],
            replicas=counts_by(replica_of, unit.records, placed),
            adapters=counts_by(adapter_of, unit.records, placed),
        )

    @classmethod
    def of_unverifiable(cls, record: UnverifiableRecord, vocabulary: int, bets: int) -> "Summary":
        """The summary of an unverifiable record: it is charged as if each of its tokens could have been any token.

        Args:
            bets: number of the policy's `LikelihoodRatioBets`.
        """
        return cls(
            columns=RecordColumns.of_unverifiable(record.place, record.tokens * float(np.log2(vocabulary))),
            tally=Tally.unbounded(record.tokens, vocabulary, bets),
            margins_b=np.zeros(len(MARGIN_ENDS) - 1, np.int64),
            flagged=[],
            shown=[],
            unverifiable=[record],
            replicas={},
            adapters={},
        )

    @classmethod
    def merged(cls, parts: "Sequence[Summary]") -> "Summary":
        """The summary of all records of disjoint parts."""
        return cls(
            columns=RecordColumns.concat([part.columns for part in parts]),
            tally=Tally.concat([part.tally for part in parts]),
            margins_b=np.sum([part.margins_b for part in parts], axis=0),
            flagged=[record for part in parts for record in part.flagged],
            shown=_worst([record for part in parts for record in part.shown]),
            unverifiable=[record for part in parts for record in part.unverifiable],
            replicas=merged_counts(part.replicas for part in parts),
            adapters=merged_counts(part.adapters for part in parts),
        )

    def ordered(self) -> "Summary":
        """The same summary in the order of the records.

        Raises:
            ValueError: a record is missing or present twice. Records without a verdict are not verified.
        """
        order_r = np.argsort(self.columns.place_r)
        columns = self.columns.take(order_r)
        if not np.array_equal(columns.place_r, np.arange(len(self))):
            raise ValueError("the replay did not cover every record once")
        return replace(
            self,
            columns=columns,
            tally=self.tally.ordered(order_r),
            flagged=sorted(self.flagged, key=lambda record: record.place),
            unverifiable=sorted(self.unverifiable, key=lambda record: record.place),
        )


def merge_all(parts: Iterable[Summary]) -> Summary | None:
    """All parts merged in the order of arrival; None without parts.

    Parts of similar size are merged with each other, so that each record is copied a logarithmic number of times.
    """
    levels: dict[int, Summary] = {}
    for part in parts:
        level = 0
        while level in levels:
            part, level = Summary.merged([levels.pop(level), part]), level + 1
        levels[level] = part
    return Summary.merged(list(levels.values())) if levels else None


def _in_short(record: RecordVerdict) -> FlaggedRecord:
    evidence = record.evidence
    return FlaggedRecord(record.index, record.reasons, record.p_value, evidence.tokens, evidence.outliers)


def _worst(records: Iterable[ShownRecord]) -> list[ShownRecord]:
    return sorted(records, key=lambda record: record.rank)[:SHOWN_RECORDS]


def _safe(record: RecordVerdict) -> BoolArray:
    safe: BoolArray = record.tokens.verdict == Verdict.SAFE
    return safe


def _tied(record: RecordVerdict) -> int:
    return int(((record.tokens.admissible - record.tokens.unseen > 1) & _safe(record)).sum())


def _unresolved_bits(record: RecordVerdict) -> float:
    tokens = record.tokens
    without = np.log2(tokens.admissible) - np.log2(tokens.admissible - tokens.unseen)
    return float(without[_safe(record)].sum())
