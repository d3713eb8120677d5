"""Histogram of margins: claimed tokens in each bin, beside the candidates that could have been claimed."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.columns import Columns
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, margin_bins, noise_counts, one_hot
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores

BINS = len(MARGIN_EDGES) + 1
"""Number of bins: margin 0, the bins of `MARGIN_EDGES`, and margins beyond the last edge."""
CANDIDATE_BINS = len(MARGIN_EDGES) - 1


@dataclass(frozen=True, kw_only=True)
class MarginHistogram(Columns):
    """Histogram of margins of each record.

    Attributes:
        tokens_rb: int64 [records, BINS], claimed tokens by margin.
        candidates_rb: int64 [records, CANDIDATE_BINS], candidates in each bin of `MARGIN_EDGES`, the claimed token
            included.
    """

    tokens_rb: IntArray
    candidates_rb: IntArray

    @classmethod
    def zeros(cls, records: int) -> "MarginHistogram":
        """Empty histograms of `records` records."""
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
    """The largest mean number of tokens in each bin under the calibration; float64 [BINS], nan for margin 0.

    Args:
        candidates_b: `MarginHistogram.candidates_rb`, summed over the records.
        tokens: number of all tokens.
        upper_b: `TokenNoise.upper_b`.
        outlier_upper: `TokenNoise.outlier_upper`.
    """
    return np.concatenate([[np.nan], candidates_b * upper_b, [tokens * outlier_upper]])
