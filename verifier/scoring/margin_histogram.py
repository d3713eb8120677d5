"""Histogram of margins: tokens that have each, beside candidates that could have had it."""

from collections.abc import Sequence

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, margin_bins, noise_counts, one_hot
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores

BINS = len(MARGIN_EDGES) + 1
"""Margin 0, the bins of `MARGIN_EDGES`, and what is beyond the last edge."""
CANDIDATE_BINS = len(MARGIN_EDGES) - 1


class MarginHistogram:
    """Accumulates scored positions of many records, in any order.

    Attributes:
        tokens_rb: int64 [records, BINS], claimed tokens by margin.
        candidates_rb: int64 [records, CANDIDATE_BINS], candidates of each bin of `MARGIN_EDGES` that were there to be
            taken, the claimed token among them.
    """

    def __init__(self, records: int) -> None:
        self.tokens_rb = np.zeros((records, BINS), np.int64)
        self.candidates_rb = np.zeros((records, CANDIDATE_BINS), np.int64)

    @classmethod
    def concat(cls, parts: "Sequence[MarginHistogram]") -> "MarginHistogram":
        """Of the records of some parts, one part after another."""
        counts = cls(0)
        counts.tokens_rb = np.concatenate([part.tokens_rb for part in parts])
        counts.candidates_rb = np.concatenate([part.candidates_rb for part in parts])
        return counts

    def take(self, order_r: IntArray) -> "MarginHistogram":
        """Of some of the records, in an order."""
        counts = MarginHistogram(0)
        counts.tokens_rb, counts.candidates_rb = self.tokens_rb[order_r], self.candidates_rb[order_r]
        return counts

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions; record_n says whose they are, times_n how often each counts."""
        bins = margin_bins(scores.margin_n, np.array(MARGIN_EDGES)) + 1
        scatter_add(self.tokens_rb, record_n, one_hot(bins, BINS), times_n)
        scatter_add(self.candidates_rb, record_n, noise_counts(scores)[0], times_n)


def expected_at_most(candidates_b: IntArray, tokens: int, upper_b: FloatArray, outlier_upper: float) -> FloatArray:
    """The most tokens of each bin that calibration allows on average; float64 [BINS], nan for margin 0.

    Args:
        candidates_b: `MarginHistogram.candidates_rb`, summed. tokens: all of them.
        upper_b, outlier_upper: `TokenNoise.upper_b` and `outlier_upper`.
    """
    return np.concatenate([[np.nan], candidates_b * upper_b, [tokens * outlier_upper]])
