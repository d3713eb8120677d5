"""What each margin threshold would cost: honest tokens beyond it against information left to an attacker."""

from dataclasses import dataclass

import numpy as np

from sampler.types import FloatArray, IntArray
from verifier.score import TokenScores
from verifier.token_noise import MARGIN_EDGES

MARGIN_GRID = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Thresholds tried, logits."""


@dataclass(frozen=True, kw_only=True)
class TradeOffPoint:
    """One threshold on one set of records.

    Attributes:
        margin: delta, logits. rank_limit: R.
        suspicious, dangerous: share of tokens with that verdict.
        outliers: share of tokens whose margin is beyond every bin of the token noise, or infinite.
        bits_per_token: mean information charged, bits.
    """

    margin: float
    rank_limit: int
    suspicious: float
    dangerous: float
    outliers: float
    bits_per_token: float


class TradeOff:
    """Accumulates scored positions and gives the trade-off of every threshold of the grid."""

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._tokens = 0
        self._outliers = 0
        self._bits = np.zeros(len(MARGIN_GRID))
        self._ranks: list[list[IntArray]] = [[] for _ in MARGIN_GRID]

    def add(self, scores: TokenScores) -> None:
        """Add positions."""
        self._tokens += len(scores)
        self._outliers += int((scores.margin_n > MARGIN_EDGES[-1]).sum())
        rivals = np.sort(scores.rival_margin_nk, axis=1)  # nan last
        for i, margin in enumerate(MARGIN_GRID):
            safe = scores.margin_n <= margin
            admissible = 1 + (rivals[safe] <= margin).sum(axis=1)
            self._bits[i] += float(np.log2(admissible).sum())
            self._ranks[i].append(scores.logit_rank_n[~safe])

    def points(self, rank_limit: int) -> list[TradeOffPoint]:
        """The trade-off at one rank limit."""
        return [self._point(i, rank_limit) for i in range(len(MARGIN_GRID))]

    def best_points(self, max_dangerous_rate: float) -> list[TradeOffPoint]:
        """For every threshold, the point whose rank limit (a power of two) is the smallest with few enough
        dangerous tokens; the vocabulary's size where none is."""
        limits = [2**k for k in range(1, int(np.ceil(np.log2(self._vocabulary))))] + [self._vocabulary]
        points = []
        for i in range(len(MARGIN_GRID)):
            tried = (self._point(i, limit) for limit in limits)
            points.append(next(point for point in tried if point.dangerous <= max_dangerous_rate))
        return points

    def _point(self, i: int, rank_limit: int) -> TradeOffPoint:
        ranks: FloatArray | IntArray = np.concatenate(self._ranks[i]) if self._ranks[i] else np.empty(0)
        dangerous, tokens = int((ranks > rank_limit).sum()), max(self._tokens, 1)
        suspicious = len(ranks) - dangerous
        bits = self._bits[i] + suspicious * np.log2(rank_limit) + dangerous * np.log2(self._vocabulary)
        return TradeOffPoint(
            margin=MARGIN_GRID[i],
            rank_limit=rank_limit,
            suspicious=suspicious / tokens,
            dangerous=dangerous / tokens,
            outliers=self._outliers / tokens,
            bits_per_token=float(bits) / tokens,
        )


def fits(point: TradeOffPoint, max_dangerous_rate: float, max_unsafe_rate: float) -> bool:
    """Whether few enough honest tokens lie beyond the threshold, and beyond all token noise."""
    unsafe = point.suspicious + point.dangerous
    return max(point.dangerous, point.outliers) <= max_dangerous_rate and unsafe <= max_unsafe_rate
