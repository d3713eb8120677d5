"""What each margin threshold would cost: honest tokens beyond it against information left to an attacker."""

from dataclasses import dataclass

import numpy as np

from sampler.types import BoolArray, IntArray
from verifier.by_record import add_by_record
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
    """Accumulates the scored positions of some records and gives the trade-off of every threshold of the grid."""

    def __init__(self, vocabulary: int, records: int) -> None:
        self._vocabulary = vocabulary
        self._tokens_r = np.zeros(records)
        self._outliers_r = np.zeros(records)
        self._bits_rm = np.zeros((records, len(MARGIN_GRID)))
        self._beyond: list[list[tuple[IntArray, IntArray]]] = [[] for _ in MARGIN_GRID]

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions; record_n says whose they are, times_n how often each counts where it is safe throughout."""
        add_by_record(self._tokens_r, record_n, 1.0, times_n)
        add_by_record(self._outliers_r, record_n, scores.margin_n > MARGIN_EDGES[-1], times_n)
        rivals = np.nan_to_num(np.hstack([scores.rival_margin_nk, scores.unseen_margin_nu]), nan=np.inf)
        bits_nm = np.empty((len(scores), len(MARGIN_GRID)))
        for i, margin in enumerate(MARGIN_GRID):
            safe = scores.margin_n <= margin
            bits_nm[:, i] = np.where(safe, np.log2(1 + (rivals <= margin).sum(axis=1)), 0.0)
            if not safe.all():
                self._beyond[i].append((record_n[~safe], scores.logit_rank_n[~safe]))
        add_by_record(self._bits_rm, record_n, bits_nm, times_n)

    def points(self, rank_limit: int, which_r: BoolArray | None = None) -> list[TradeOffPoint]:
        """The trade-off at one rank limit, on all records or on some of them."""
        return [self._point(i, rank_limit, which_r) for i in range(len(MARGIN_GRID))]

    def best_points(self, max_dangerous_rate: float) -> list[TradeOffPoint]:
        """For every threshold, the point whose rank limit (a power of two) is the smallest with few enough
        dangerous tokens; the vocabulary's size where none is.
        """
        limits = [2**k for k in range(1, int(np.ceil(np.log2(self._vocabulary))))] + [self._vocabulary]
        points = []
        for i in range(len(MARGIN_GRID)):
            tried = (self._point(i, limit) for limit in limits)
            points.append(next(point for point in tried if point.dangerous <= max_dangerous_rate))
        return points

    def _point(self, i: int, rank_limit: int, which_r: BoolArray | None = None) -> TradeOffPoint:
        which = np.ones(len(self._tokens_r), np.bool_) if which_r is None else which_r
        parts = self._beyond[i] or [(np.empty(0, np.int64), np.empty(0, np.int64))]
        ranks = np.concatenate([rank[which[record]] for record, rank in parts])
        dangerous, tokens = int((ranks > rank_limit).sum()), max(float(self._tokens_r[which].sum()), 1.0)
        suspicious = len(ranks) - dangerous
        bits = self._bits_rm[which, i].sum() + suspicious * np.log2(rank_limit) + dangerous * np.log2(self._vocabulary)
        return TradeOffPoint(
            margin=MARGIN_GRID[i],
            rank_limit=rank_limit,
            suspicious=suspicious / tokens,
            dangerous=dangerous / tokens,
            outliers=float(self._outliers_r[which].sum()) / tokens,
            bits_per_token=float(bits) / tokens,
        )


def fits(point: TradeOffPoint, max_dangerous_rate: float, max_unsafe_rate: float) -> bool:
    """Whether few enough honest tokens lie beyond the threshold, and beyond all token noise."""
    unsafe = point.suspicious + point.dangerous
    return max(point.dangerous, point.outliers) <= max_dangerous_rate and unsafe <= max_unsafe_rate
