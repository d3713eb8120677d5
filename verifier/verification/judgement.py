"""Judged records before the verdict of their run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.ledger import RecordCharges
from weightwarden.verifier.scoring.margin_histogram import MarginHistogram
from weightwarden.verifier.verification.record_verdict import RecordVerdict, TokenDetail, Undefined
from weightwarden.verifier.verification.series_monitor import LOG_RATIO
from weightwarden.verifier.verification.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Judged records.

    Attributes:
        records: verdict of each record.
        margins: histogram of margins, claimed and possible.
        tally: charges of the records.
    """

    records: list[RecordVerdict]
    margins: MarginHistogram
    tally: Tally

    @classmethod
    def concat(cls, parts: "Sequence[tuple[Sequence[int], Judgement]]") -> "Judgement":
        """The judgement of all records of some parts.

        Each part is given with the places of its records, which are 0, 1, ... over all parts.
        """
        place_r: IntArray = np.concatenate([np.array(places, np.int64) for places, _ in parts])
        order_r = np.argsort(place_r)
        records = [record for _, part in parts for record in part.records]
        return cls(
            records=[replace(records[at], index=place) for place, at in enumerate(order_r)],
            margins=MarginHistogram.concat([part.margins for _, part in parts]).take(order_r),
            tally=Tally.concat([part.tally for _, part in parts]).ordered(order_r),
        )

    @classmethod
    def of_undefined(cls, record: Record, why: str, vocabulary: int, bets: int) -> "Judgement":
        """The judgement of one record whose tokens cannot be judged (`Undefined`).

        Args:
            bets: number of the policy's `LikelihoodRatioBets`.
        """
        tokens = len(record.output_token_ids)
        verdict = RecordVerdict(
            index=0,
            evidence=Undefined(tokens=tokens, why=why),
            stop_findings=[],
            stop_bits=0.0,
            end_code_bits=0.0,
            reasons=[],
            tokens=TokenDetail.empty(),
            alternatives={},
        )
        tally = Tally.unbounded(tokens, vocabulary, bets)
        return cls(records=[verdict], margins=MarginHistogram.zeros(1), tally=tally)

    @property
    def charges(self) -> RecordCharges:
        return self.tally.charges

    @property
    def watched(self) -> dict[str, FloatArray]:
        """The quantities of every record that `SeriesMonitor` watches (`watched`)."""
        return watched(
            self.tally,
            outlying_r=np.array([record.evidence.outliers > 0 for record in self.records], np.float64),
            flagged_r=np.array([record.flagged for record in self.records], np.float64),
        )


def watched(tally: Tally, *, outlying_r: FloatArray, flagged_r: FloatArray) -> dict[str, FloatArray]:
    """The quantities of every record that `SeriesMonitor` watches, and the record's tokens.

    Float64 [records]; `LOG_RATIO` is [records, bets].
    """
    charges = tally.charges
    return {
        "tokens": charges.tokens_r.astype(np.float64),
        "mismatches": charges.mismatches_r.astype(np.float64),
        "suspicious": charges.suspicious_r.astype(np.float64),
        "dangerous": charges.dangerous_r.astype(np.float64),
        "pooled_bits": charges.pooled_token_bits_r,
        "outlying": outlying_r,
        "flagged": flagged_r,
        LOG_RATIO: tally.log_ratio_rk.copy(),
    }
