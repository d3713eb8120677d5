"""Sweep of margin thresholds: honest tokens beyond each threshold, against the information left to an attacker."""

from dataclasses import dataclass, field

import numpy as np

from weightwarden.sampler.types import BoolArray, IntArray
from weightwarden.verifier.columns import Sums
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores

MARGIN_GRID = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Thresholds tried, logits."""
BITS = 2**24
"""Sums of bits are kept in units of 1 / `BITS`, so that they do not depend on the order or grouping of their parts."""


@dataclass(frozen=True, kw_only=True)
class ThresholdSweepPoint:
    """One threshold on one set of records.

    Attributes:
        margin: the threshold delta, logits.
        rank_limit: R, tokens.
        suspicious: share of suspicious tokens.
        dangerous: share of dangerous tokens.
        outliers: share of tokens whose margin is beyond every bin of the token noise, or infinite.
        bits_per_token: mean information charged, bits.
    """

    margin: float
    rank_limit: int
    suspicious: float
    dangerous: float
    outliers: float
    bits_per_token: float


def _no_tokens() -> IntArray:
    return np.zeros(len(MARGIN_GRID), np.int64)


@dataclass(kw_only=True)
class ThresholdSweepSums(Sums):
    """Sums over some records for every threshold of the grid, at one rank limit.

    Attributes:
        tokens: all tokens.
        outliers: tokens beyond all token noise.
        suspicious_m: suspicious tokens, int64 [thresholds].
        dangerous_m: dangerous tokens, int64 [thresholds].
        bits_m: information charged for safe tokens, in units of 1 / `BITS` bits, rounded for each record, int64
            [thresholds].
    """

    tokens: int = 0
    outliers: int = 0
    suspicious_m: IntArray = field(default_factory=_no_tokens)
    dangerous_m: IntArray = field(default_factory=_no_tokens)
    bits_m: IntArray = field(default_factory=_no_tokens)

    def points(self, rank_limit: int, vocabulary: int) -> list[ThresholdSweepPoint]:
        """The trade-off, one point a threshold, at the rank limit of these sums."""
        tokens = max(self.tokens, 1)
        points = []
        for i, margin in enumerate(MARGIN_GRID):
            suspicious, dangerous = int(self.suspicious_m[i]), int(self.dangerous_m[i])
            bits = int(self.bits_m[i]) / BITS + suspicious * np.log2(rank_limit) + dangerous * np.log2(vocabulary)
            points.append(
                ThresholdSweepPoint(
                    margin=margin,
                    rank_limit=rank_limit,
                    suspicious=suspicious / tokens,
                    dangerous=dangerous / tokens,
                    outliers=self.outliers / tokens,
                    bits_per_token=float(bits) / tokens,
                )
            )
        return points


class ThresholdSweep:
    """Accumulator of the trade-off of every threshold of the grid, on many records."""

    def __init__(self, vocabulary: int, records: int) -> None:
        self._vocabulary = vocabulary
        self._tokens_r = np.zeros(records)
        self._outliers_r = np.zeros(records)
        self._bits_rm = np.zeros((records, len(MARGIN_GRID)))
        self._beyond: list[list[tuple[IntArray, IntArray]]] = [[] for _ in MARGIN_GRID]

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions (`Accumulator`). Positions with a multiplicity above 1 are safe at every threshold."""
        scatter_add(self._tokens_r, record_n, 1.0, times_n)
        scatter_add(self._outliers_r, record_n, scores.margin_n > MARGIN_EDGES[-1], times_n)
        rivals = np.nan_to_num(np.hstack([scores.rival_margin_nk, scores.unseen_margin_nu]), nan=np.inf)
        bits_nm = np.empty((len(scores), len(MARGIN_GRID)))
        for i, margin in enumerate(MARGIN_GRID):
            safe = scores.margin_n <= margin
            bits_nm[:, i] = np.where(safe, np.log2(1 + (rivals <= margin).sum(axis=1)), 0.0)
            if not safe.all():
                self._beyond[i].append((record_n[~safe], scores.logit_rank_n[~safe]))
        scatter_add(self._bits_rm, record_n, bits_nm, times_n)

    def points(self, rank_limit: int, which_r: BoolArray | None = None) -> list[ThresholdSweepPoint]:
        """The trade-off at one rank limit, on all records or on some of them."""
        which = np.ones(len(self._tokens_r), np.bool_) if which_r is None else which_r
        return self.sums(rank_limit, which).points(rank_limit, self._vocabulary)

    def sums(self, rank_limit: int, which_r: BoolArray) -> ThresholdSweepSums:
        """The sums at one rank limit over some of the records."""
        dangerous_m = np.zeros(len(MARGIN_GRID), np.int64)
        suspicious_m = np.zeros(len(MARGIN_GRID), np.int64)
        for i, parts in enumerate(self._beyond):
            ranks = np.concatenate([np.empty(0, np.int64), *(rank[which_r[record]] for record, rank in parts)])
            dangerous_m[i] = (ranks > rank_limit).sum()
            suspicious_m[i] = len(ranks) - dangerous_m[i]
        return ThresholdSweepSums(
            tokens=int(self._tokens_r[which_r].sum()),
            outliers=int(self._outliers_r[which_r].sum()),
            suspicious_m=suspicious_m,
            dangerous_m=dangerous_m,
            bits_m=np.rint(self._bits_rm[which_r] * BITS).astype(np.int64).sum(axis=0),
        )

    def best_points(self, max_dangerous_rate: float) -> list[ThresholdSweepPoint]:
        """The best point for every threshold.

        The one with the smallest rank limit, a power of two, and few enough dangerous tokens. The rank limit is the
        vocabulary's size where no power of two suffices.
        """
        limits = [2**k for k in range(1, int(np.ceil(np.log2(self._vocabulary))))] + [self._vocabulary]
        tables = [self.points(limit) for limit in limits]
        return [
            next(points[i] for points in tables if points[i].dangerous <= max_dangerous_rate)
            for i in range(len(MARGIN_GRID))
        ]


def fits(point: ThresholdSweepPoint, max_dangerous_rate: float, max_unsafe_rate: float) -> bool:
    """True if few enough honest tokens lie beyond the threshold, and beyond all token noise."""
    unsafe = point.suspicious + point.dangerous
    return max(point.dangerous, point.outliers) <= max_dangerous_rate and unsafe <= max_unsafe_rate
