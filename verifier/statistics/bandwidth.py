"""Bounds of the bits that answers could have carried unseen (docs/design.md, section 6).

All bounds count outputs: if at most 2^B outputs would have been accepted, the choice of one carries at most B bits.
There are two kinds.

- *Budgets.* Outputs are accepted while their costs stay under a budget: `pooled_bound`, and its special cases
  `mismatch_bound` and `combinatorial_bound`.
- *Codes.* Every output has a length, in bits, that obeys Kraft's inequality: sum over outputs of 2^-length <= 1. Then
  at most 2^B outputs have a length of B or less, a uniform message of M bits gets a length below M - s with probability
  at most 2^-s, and the mean length is at least the entropy of the message. Lengths are summed along the observed path,
  and need no knowledge of the sets on other paths. `verifier.scoring.codes` charges tokens so. The code is
  chosen before the outputs are seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import entr, logsumexp

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.errors import StatisticsError

LN2 = float(np.log(2))
MAX_TERMS = 1_000_000
MAX_TILT = 1e6
"""Largest lambda tried, 1 / cost unit; every lambda gives a bound."""


@dataclass(frozen=True)
class PooledBound:
    """The pooled bound, total bits, and the lambda (1 / cost unit) at which it is least; 0 is the counting bound."""

    bits: float
    tilt: float


def pooled_bound(cost_nk: FloatArray, budget: float, counts_n: NDArray[np.integer] | None = None) -> PooledBound:
    """Bits of all outputs whose total cost stays within a budget (free energy; Chernoff's bound of a count).

    The number of choices of one candidate a position with a total cost of at most C is, for every lambda >= 0, at most

        e^(lambda C) * prod_t sum_v e^(-lambda c_t(v)).

    With lambda = 0 every candidate counts: the counting bound. With cost 1 for every candidate but one it is
    `mismatch_bound`; with -ln of the honest probabilities and the honest mean as the budget, the honest entropy. The
    sets must not depend on the choices. Where they do (an answer's later tokens), it is a bound only for attackers who
    stay on paths with these sets; a code is a bound for all attackers.

    Args:
        cost_nk: costs of the candidates of n positions, at least 0; inf where there is none.
        budget: C, the largest total cost that is accepted, in the unit of the costs.
        counts_n: number of positions that each row stands for (1 where None), so that millions of positions need no
            more rows than there are kinds.

    Raises:
        StatisticsError: a position has no candidates, a cost is negative, or no output meets the budget.
    """
    costs = np.asarray(cost_nk, np.float64)
    counts = np.ones(len(costs)) if counts_n is None else np.asarray(counts_n, np.float64)
    offered = np.isfinite(costs)
    if costs.ndim != 2 or not costs.size or not offered.any(axis=1).all() or not (costs >= 0).all():
        raise StatisticsError("every position needs a candidate, and costs are numbers of at least 0")
    least_n = costs.min(axis=1)
    if np.isnan(budget):
        raise StatisticsError("a budget is a number")
    spare = budget - float(counts @ least_n)  # remaining budget after the cheapest candidate of every position
    if spare < -1e-9 * max(1.0, abs(budget)):
        raise StatisticsError(f"a budget of {budget:g} accepts no output: the cheapest costs {counts @ least_n:g}")
    extra = np.where(offered, costs, 0.0) - np.where(offered, least_n[:, None], 0.0)

    def slope(tilt: float) -> float:
        weights = offered * np.exp(-tilt * extra)
        return max(spare, 0.0) - float(counts @ ((weights * extra).sum(axis=1) / weights.sum(axis=1)))

    tilt = 0.0
    if slope(0.0) < 0:
        tilt = MAX_TILT if slope(MAX_TILT) < 0 else float(brentq(slope, 0.0, MAX_TILT, xtol=1e-12, rtol=1e-10))
    nats = (tilt * max(spare, 0.0) if tilt else 0.0) + float(counts @ logsumexp(-tilt * extra, axis=1, b=offered))
    return PooledBound(nats / LN2, tilt)


def mismatch_bound(rate: float, size: float) -> float:
    """Bits a token of outputs that differ from the honest choice in a share of tokens: h2(q) + q log2(m - 1).

    Args:
        rate: q, share of tokens that are not the first choice, in [0, 1].
        size: m, number of tokens to choose from, at least 1.

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    if not 0 <= rate <= 1 or not size >= 1:
        raise StatisticsError(f"no bound for a mismatch rate of {rate} among {size} tokens")
    if rate >= (size - 1) / size:  # the budget does not bind
        return float(np.log2(size))
    return binary_entropy(rate) + (rate * float(np.log2(size - 1)) if rate > 0 else 0.0)


def combinatorial_bound(tokens: int, altered: int, size: float) -> float:
    """Bits of n tokens with at most k altered, each to one of m - 1 others: log2 sum_j C(n, j) (m - 1)^j.

    Exact. Its limit, `mismatch_bound`, replaces it beyond a million altered tokens (the limit is no less).

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    if tokens < 0 or altered < 0 or not size >= 1:
        raise StatisticsError(f"no bound for {altered} altered tokens of {tokens} among {size}")
    altered = min(altered, tokens)
    if altered > MAX_TERMS:
        return tokens * mismatch_bound(altered / tokens, size)
    j = np.arange(altered + 1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        swaps = np.where(j > 0, j * np.log(size - 1), 0.0)
    terms = np.concatenate([[0.0], np.cumsum(np.log((tokens - j[1:] + 1) / j[1:]))]) + swaps  # ln C(n, j) and swaps
    return max(float(logsumexp(terms)) / LN2, 0.0)


def binary_entropy(rate: float) -> float:
    """h2(q), bits."""
    return float(entr(rate) + entr(1 - rate)) / LN2


def entropy(probability_nk: FloatArray) -> FloatArray:
    """Entropy [n] of each row of probabilities, bits."""
    bits: FloatArray = entr(probability_nk).sum(axis=-1) / LN2
    return bits


def geometric_entropy(mean: float) -> float:
    """Largest entropy of a whole number >= 0 with this mean, bits: the capacity of a count, for example of ticks.

    Raises:
        StatisticsError: the mean is negative.
    """
    if not 0 <= mean < np.inf:
        raise StatisticsError(f"a count has a mean of at least 0, not {mean}")
    return float(np.log2(1 + mean) + mean * np.log1p(1 / mean) / LN2) if mean else 0.0
