"""Which tokens the filters leave, and how far each candidate is from every cut."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampler.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters of n positions. A filter that is off has its neutral value (top_k = V, top_p = 1, min_p = 0)."""

    temperature_n: FloatArray
    """Temperature at which the filters see the logits; positive."""
    top_k_n: IntArray
    top_p_n: FloatArray
    min_p_n: FloatArray

    def min_p_offset(self) -> FloatArray:
        """The min-p cut, in logits relative to the largest logit [n]; -inf when off.

        A token stays iff softmax >= min_p * max softmax, that is logit >= max + temperature * ln(min_p).
        """
        with np.errstate(divide="ignore"):
            offset: FloatArray = self.temperature_n * np.log(self.min_p_n)
        return offset


@dataclass(frozen=True, kw_only=True)
class Support:
    """Distances of the head candidates (sorted by descending logit) from each cut, at the given slack levels.

    A candidate is inside every cut, *nominally*, where `nominal_nk`. With logit slack e it could at worst have
    `mass_above_max_nke` of the probability above it, and at best `mass_above_min_nke`; top-p keeps a token iff the
    mass above it is less than p (sampling-spec 6.2).

    Attributes:
        logit_distance_nk: distance to the nearer of the top-k and min-p cuts, logits; positive inside, larger is
            deeper inside. An inside token is measured from the token of rank k + 1 (0 where that ties), an outside
            token from the last that top-k keeps, so the width of the gap counts. +inf where neither filter is on.
        mass_above_nk: probability mass (after min-p and top-k) of tokens with a larger logit.
        mass_above_min_nke: the same, of tokens whose logit is larger by more than slack e.
        mass_above_max_nke: the same, of other tokens whose logit is not smaller by more than slack e.
    """

    nominal_nk: BoolArray
    logit_distance_nk: FloatArray
    mass_above_nk: FloatArray
    mass_above_min_nke: FloatArray
    mass_above_max_nke: FloatArray


def kept_before_top_p(logits_nk: FloatArray, filters: Filters) -> BoolArray:
    """Which of the head candidates min-p and top-k keep; all ties at the top-k threshold stay (PyTorch's rule).

    Args:
        logits_nk: the largest logits of each position, descending; must reach past the top-k cut where top-k is on.
    """
    width = logits_nk.shape[1]
    last_n = np.minimum(filters.top_k_n, width) - 1
    threshold_n = np.where(filters.top_k_n <= width, np.take_along_axis(logits_nk, last_n[:, None], 1)[:, 0], -np.inf)
    floor_n = np.maximum(threshold_n, logits_nk[:, 0] + filters.min_p_offset())
    kept: BoolArray = (logits_nk >= floor_n[:, None]) & np.isfinite(logits_nk)
    return kept


def logit_distance(values_nk: FloatArray, head_nk: FloatArray, filters: Filters) -> FloatArray:
    """Distance [n, k] of logits from the nearer of the top-k and min-p cuts of their row (see `Support`).

    Args:
        values_nk: logits to place, any order.
        head_nk: the largest logits of the row, descending; must reach past the top-k cut where top-k is on.
    """
    width = head_nk.shape[1]
    with np.errstate(invalid="ignore"):  # -inf minus -inf: masked tokens, outside everything
        distance = values_nk - head_nk[:, :1] - filters.min_p_offset()[:, None]
    cut_n = filters.top_k_n < width
    last = np.take_along_axis(head_nk, np.minimum(filters.top_k_n, width)[:, None] - 1, 1)
    first_out = np.take_along_axis(head_nk, np.minimum(filters.top_k_n, width - 1)[:, None], 1)
    with np.errstate(invalid="ignore"):
        from_top_k = np.where(values_nk >= last, values_nk - first_out, values_nk - last)
    from_top_k = np.where(np.isnan(from_top_k), -np.inf, from_top_k)
    distance = np.where(cut_n[:, None], np.minimum(distance, from_top_k), distance)
    return np.where(np.isneginf(values_nk), -np.inf, distance)


def support_of_head(
    logits_nk: FloatArray, filters: Filters, log_mass_n: FloatArray | None, slack_levels_e: FloatArray
) -> Support:
    """The support of n positions, from their largest logits.

    Args:
        logits_nk: the largest adjusted logits of each position, float64, descending.
        log_mass_n: ln of the sum of exp(logit / temperature) over what min-p and top-k keep, where that reaches
            beyond the head; None, or nan in a row, to take it from the head itself.
        slack_levels_e: logit slacks at which to bound the mass above each candidate, ascending.
    """
    kept = kept_before_top_p(logits_nk, filters)
    exponents = np.where(kept, (logits_nk - logits_nk[:, :1]) / filters.temperature_n[:, None], -np.inf)
    weights = np.exp(exponents)
    total_n = weights.sum(axis=1)
    if log_mass_n is not None:
        given = np.exp(log_mass_n - logits_nk[:, 0] / filters.temperature_n)
        total_n = np.where(np.isnan(log_mass_n), total_n, given)
    mass = weights / total_n[:, None]
    cumulative = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(mass, axis=1)], axis=1)
    above = np.take_along_axis(cumulative, counts_above(logits_nk, logits_nk), 1)
    least, most = [], []
    for slack in slack_levels_e:
        least.append(np.take_along_axis(cumulative, counts_above(logits_nk, logits_nk + slack), 1))
        not_below = counts_above(logits_nk, logits_nk - slack, inclusive=True)
        most.append(np.take_along_axis(cumulative, not_below, 1) - mass)
    return Support(
        nominal_nk=kept & ((above < filters.top_p_n[:, None]) | (filters.top_p_n >= 1)[:, None]),
        logit_distance_nk=logit_distance(logits_nk, logits_nk, filters),
        mass_above_nk=above,
        mass_above_min_nke=np.stack(least, axis=2),
        mass_above_max_nke=np.stack(most, axis=2),
    )


class MassProfile:
    """Where the probability of one position's whole support lies, by logit: for supports too wide for the head."""

    def __init__(self, logits_v: NDArray[np.float32], floor: float, temperature: float) -> None:
        """Take what min-p and top-k keep of a row.

        Args:
            logits_v: adjusted logits of the whole vocabulary, in any order.
            floor: the smallest logit kept.
        """
        self._ascending = np.sort(logits_v[logits_v >= floor])
        weights = np.exp((self._ascending - self._ascending[-1]) / np.float32(temperature))
        below = np.cumsum(weights, dtype=np.float64)
        self._above = 1.0 - np.concatenate([[0.0], below]) / below[-1]

    def above(self, thresholds_q: FloatArray) -> FloatArray:
        """Probability of the tokens whose logit exceeds each threshold."""
        mass: FloatArray = self._above[np.searchsorted(self._ascending, thresholds_q.astype(np.float32), side="right")]
        return mass

    def at_or_above(self, thresholds_q: FloatArray) -> FloatArray:
        """Probability of the tokens whose logit is not below each threshold."""
        mass: FloatArray = self._above[np.searchsorted(self._ascending, thresholds_q.astype(np.float32), side="left")]
        return mass

    def own(self, logits_q: FloatArray) -> FloatArray:
        """Probability of one token with each of these logits, which stand in the row."""
        at = np.searchsorted(self._ascending, logits_q.astype(np.float32), side="left")
        at = np.minimum(at, len(self._ascending) - 1)
        ties = np.searchsorted(self._ascending, logits_q.astype(np.float32), side="right") - at
        mass: FloatArray = (self._above[at] - self._above[at + ties]) / np.maximum(ties, 1)
        return mass


def counts_above(descending_nk: FloatArray, thresholds_nq: FloatArray, *, inclusive: bool = False) -> IntArray:
    """How many of each row's values exceed each of its thresholds, int64 [n, q]; one binary search for all rows.

    Args:
        descending_nk: float32 values as float64, each row descending; -inf allowed at the end.
        thresholds_nq: float64, any order.
        inclusive: count values equal to the threshold, too.
    """
    rows, width = descending_nk.shape
    finite = descending_nk[np.isfinite(descending_nk)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    # Each row is moved into an interval of its own; a spread of 1e4 logits over 1e4 rows keeps 1e-8 of resolution.
    # Masked values go two below every finite one, and thresholds never further than between.
    stride = (high - low) + 6.0
    offsets = np.arange(rows)[:, None] * stride
    ascending = (offsets - np.clip(descending_nk, low - 2.0, None)).ravel()
    queries = offsets - np.clip(thresholds_nq, low - 1.0, high + 1.0)
    found: IntArray = (
        np.searchsorted(ascending, queries, side="right" if inclusive else "left") - np.arange(rows)[:, None] * width
    )
    return np.clip(found, 0, width)
