"""Histogram of margins: tokens that have each, beside candidates that could have had it."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.columns import Columns
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, margin_bins, noise_counts, one_hot
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores

BINS = len(MARGIN_EDGES) + 1
"""Margin 0, the bins of `MARGIN_EDGES`, and what is beyond the last edge."""
CANDIDATE_BINS = len(MARGIN_EDGES) - 1


@dataclass(frozen=True, kw_only=True)
class MarginHistogram(Columns):
    """Histogram of margins of each record.

    Attributes:
        tokens_rb: int64 [records, BINS], claimed tokens by margin.
        candidates_rb: int64 [records, CANDIDATE_BINS], candidates of each bin of `MARGIN_EDGES` that were there to be
            taken, the claimed token among them.
    """

    tokens_rb: IntArray
    candidates_rb: IntArray

    @classmethod
    def zeros(cls, records: int) -> "MarginHistogram":
        """Histograms of so many records without a position."""
        return cls(
            tokens_rb=np.zeros((records, BINS), np.int64), candidates_rb=np.zeros((records, CANDIDATE_BINS), np.int64)
        )


class MarginCounter:
    """Accumulator of the margins of many records."""

    def __init__(self, records: int) -> None:
        self.histogram = MarginHistogram.zeros(records)

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions (`Accumulator`)."""
        bins = margin_bins(scores.margin_n, np.array(MARGIN_EDGES)) + 1
        scatter_add(self.histogram.tokens_rb, record_n, one_hot(bins, BINS), times_n)
        scatter_add(self.histogram.candidates_rb, record_n, noise_counts(scores)[0], times_n)


def expected_at_most(candidates_b: IntArray, tokens: int, upper_b: FloatArray, outlier_upper: float) -> FloatArray:
    """The most tokens of each bin that calibration allows on average; float64 [BINS], nan for margin 0.

    Args:
        candidates_b: `MarginHistogram.candidates_rb`, summed. tokens: all of them.
        upper_b, outlier_upper: `TokenNoise.upper_b` and `outlier_upper`.
    """
    return np.concatenate([[np.nan], candidates_b * upper_b, [tokens * outlier_upper]])
