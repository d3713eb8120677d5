"""The support that filters leave, and the distance of each candidate from every cut."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters of n positions. A filter that is off has its neutral value (top_k = V, top_p = 1, min_p = 0)."""

    temperature_n: FloatArray
    """Positive temperature of the logits that the filters see."""
    top_k_n: IntArray
    top_p_n: FloatArray
    min_p_n: FloatArray

    def min_p_offset(self) -> FloatArray:
        """The min-p cut [n] in logits relative to the largest logit; -inf when off.

        A token stays iff softmax >= min_p * max softmax, that is logit >= max + temperature * ln(min_p).
        """
        with np.errstate(divide="ignore"):
            offset: FloatArray = self.temperature_n * np.log(self.min_p_n)
        return offset


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Bounds for the unseen tokens of n rows of which only some logits are known.

    Attributes:
        ceiling_n: upper bound of every unseen token's logit; -inf where every logit is known.
        count_n: number of unseen tokens.
        on_top_k_n: True where top-k is on, whose cut may lie among the unseen tokens.
    """

    ceiling_n: FloatArray
    count_n: IntArray
    on_top_k_n: BoolArray

    def log_weight(self, largest_n: FloatArray, floor_n: FloatArray, temperature_n: FloatArray) -> FloatArray:
        """Upper bound [n] of ln of the sum of exp((logit - largest) / temperature) over unseen tokens >= floor."""
        inside = (self.ceiling_n >= floor_n) & (self.count_n > 0)
        with np.errstate(divide="ignore"):
            bound: FloatArray = (self.ceiling_n - largest_n) / temperature_n + np.log(self.count_n)
        return np.where(inside, bound, -np.inf)


@dataclass(frozen=True, kw_only=True)
class Support:
    """Distances of the head candidates (sorted by descending logit) from each cut, at the given slack levels.

    A candidate with `nominal_nk` is inside every cut. With logit slack e, the probability above it is at most
    `mass_above_max_nke` and at least `mass_above_min_nke`. Top-p keeps a token iff the mass above it is less than p
    (docs/sampling.md, section 6.2).

    Attributes:
        nominal_nk: True inside every cut, without slack.
        slope_n: largest slope of a nominally inside token; errors of the mass above a cut are larger by this factor.
        logit_distance_nk: distance to the nearer of the top-k and min-p cuts, logits; positive inside, larger is
            deeper inside. An inside token is measured from the token of rank k + 1 (0 where that ties), an outside
            token from the last that top-k keeps, so the width of the gap counts. +inf where neither filter is on.
        mass_above_nk: probability mass (after min-p and top-k) of tokens with a larger logit.
        mass_above_min_nke: the same, of tokens whose logit is larger by more than slack e.
        mass_above_max_nke: the same, of other tokens whose logit is not smaller by more than slack e.
        unsettled_nk: True where unseen tokens could move a cut past the candidate, or move the candidate past top-p.
        unseen_distance_n: distance of an unseen token with its row's ceiling; -inf where there is none.
        unseen_mass_min_n: least mass above that token, at the largest slack; 1 where there is none.
    """

    nominal_nk: BoolArray
    slope_n: FloatArray
    logit_distance_nk: FloatArray
    mass_above_nk: FloatArray
    mass_above_min_nke: FloatArray
    mass_above_max_nke: FloatArray
    unsettled_nk: BoolArray
    unseen_distance_n: FloatArray
    unseen_mass_min_n: FloatArray


def kept_before_top_p(logits_nk: FloatArray, filters: Filters) -> BoolArray:
    """Mask [n, k] of the head candidates that min-p and top-k keep. Ties at the top-k threshold stay (PyTorch's rule).

    Args:
        logits_nk: the largest logits of each position, descending; must reach past the top-k cut where top-k is on.
        filters: the filters.
    """
    width = logits_nk.shape[1]
    last_n = np.minimum(filters.top_k_n, width) - 1
    threshold_n = np.where(filters.top_k_n <= width, np.take_along_axis(logits_nk, last_n[:, None], 1)[:, 0], -np.inf)
    floor_n = np.maximum(threshold_n, logits_nk[:, 0] + filters.min_p_offset())
    kept: BoolArray = (logits_nk >= floor_n[:, None]) & np.isfinite(logits_nk)
    return kept


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """The factors from errors of raw logits to errors of adjusted logits (`sampler.logits.LogitAdjustment.slopes`).

    The order of two tokens with slopes a and b is as unsure as that of two unadjusted tokens at max(a, b) times the
    difference. This covers independent errors, and common errors with up to the variance of the independent ones.

    Attributes:
        values_nq: slopes of the logits that are placed.
        head_nk: slopes of the head.
    """

    values_nq: FloatArray
    head_nk: FloatArray

    def classes(self) -> list[tuple[BoolArray, FloatArray]]:
        """Classes of the head's tokens by slope (below 1, 1, above 1): masks [n, k], each with its slope [n] a row."""
        return slope_classes(self.head_nk)


def slope_classes(slope_nk: FloatArray) -> list[tuple[BoolArray, FloatArray]]:
    """The classes of `Slopes.classes` that hold a token."""
    masks = (slope_nk == 1, slope_nk > 1, slope_nk < 1)
    return [(mask, np.where(mask, slope_nk, 0.0).max(axis=1)) for mask in masks if mask.any()]


def logit_distance(
    values_nk: FloatArray,
    head_nk: FloatArray,
    filters: Filters,
    unseen: Unseen | None = None,
    slopes: Slopes | None = None,
) -> FloatArray:
    """Distance [n, k] of logits from the nearer of the top-k and min-p cuts of their row (see `Support`).

    Where unseen tokens could move a cut past an otherwise inside token, its distance is 0: on the cut.

    Args:
        values_nk: logits to place, in any order.
        head_nk: the largest logits of the row, descending; must reach past the top-k cut where top-k is on, except for
            tokens in `unseen`.
        filters: the filters.
        unseen: bounds for unseen tokens.
        slopes: slopes, where some are not 1. Distances are then in raw logits.
    """
    if slopes is None:
        distance = _logit_distance(values_nk, head_nk, filters)
    else:
        distance = _sloped_distance(values_nk, head_nk, filters, slopes)
    if unseen is None:
        return distance
    ceiling = unseen.ceiling_n[:, None]
    with np.errstate(invalid="ignore"):
        worst = values_nk - np.maximum(head_nk[:, :1], ceiling) - filters.min_p_offset()[:, None]
        worst = np.where(unseen.on_top_k_n[:, None], np.minimum(worst, values_nk - ceiling), worst)
    worst = np.where(np.isnan(worst), -np.inf, worst)
    return np.where(distance >= 0, np.minimum(distance, np.maximum(worst, 0.0)), distance)


def _logit_distance(values_nk: FloatArray, head_nk: FloatArray, filters: Filters) -> FloatArray:
    """Distances from the cuts that the head alone gives."""
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


def _sloped_distance(values_nq: FloatArray, head_nk: FloatArray, filters: Filters, slopes: Slopes) -> FloatArray:
    """Distances in raw logits: from the token beyond or before the cut that an error brings nearest."""
    shape = values_nq.shape
    with np.errstate(invalid="ignore"):
        excess = values_nq - filters.min_p_offset()[:, None]
    distance, inside, outside = (np.full(shape, np.inf) for _ in range(3))
    first_out = np.arange(head_nk.shape[1])[None, :] >= filters.top_k_n[:, None]
    for mask, slope_n in slopes.classes():
        scale = np.maximum(slopes.values_nq, slope_n[:, None])
        largest = np.where(mask, head_nk, -np.inf).max(axis=1, keepdims=True)
        beyond = np.where(mask & first_out, head_nk, -np.inf).max(axis=1, keepdims=True)
        last = np.where(mask & ~first_out & np.isfinite(head_nk), head_nk, np.inf).min(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            distance = np.fmin(distance, (excess - largest) / scale)
            inside = np.fmin(inside, (values_nq - beyond) / scale)
            outside = np.fmin(outside, (last - values_nq) / scale)
    width = head_nk.shape[1]
    kept_down_to = np.take_along_axis(head_nk, np.minimum(filters.top_k_n, width)[:, None] - 1, 1)
    from_top_k = np.where(values_nq >= kept_down_to, inside, -outside)
    distance = np.where((filters.top_k_n < width)[:, None], np.minimum(distance, from_top_k), distance)
    return np.where(np.isneginf(values_nq), -np.inf, distance)


def support_of_head(
    logits_nk: FloatArray,
    filters: Filters,
    log_mass_n: FloatArray | None,
    slack_levels_e: FloatArray,
    unseen: Unseen | None = None,
    slope_nk: FloatArray | None = None,
) -> Support:
    """The support of n positions, from their largest logits.

    With unseen tokens the probabilities are bounds. The least mass above a candidate assumes that all unseen tokens
    have the ceiling's logit. The largest assumes that none adds to the whole, and that all add above the candidate
    where they may.

    Args:
        logits_nk: the largest adjusted logits of each position, float64, descending.
        filters: the filters.
        log_mass_n: ln of the sum of exp(logit / temperature) over the tokens that min-p and top-k keep, where they
            reach beyond the head; None, or nan in a row, to compute it from the head.
        slack_levels_e: logit slacks at which to bound the mass above each candidate, ascending.
        unseen: bounds for unseen tokens; only without log_mass_n.
        slope_nk: slopes of the logits (`Slopes`), where some are not 1. Slacks and distances are then in raw logits.
    """
    kept = kept_before_top_p(logits_nk, filters)
    exponents = np.where(kept, (logits_nk - logits_nk[:, :1]) / filters.temperature_n[:, None], -np.inf)
    weights = np.exp(exponents)
    total_n = weights.sum(axis=1)
    if log_mass_n is not None:
        given = np.exp(log_mass_n - logits_nk[:, 0] / filters.temperature_n)
        total_n = np.where(np.isnan(log_mass_n), total_n, given)
    hidden_n = np.zeros(len(kept))
    if unseen is not None:
        floor_n = np.where(kept, logits_nk, np.inf).min(axis=1)  # floor by top-k and min-p, among the seen tokens
        cut_n = unseen.on_top_k_n & (np.isfinite(logits_nk).sum(axis=1) >= filters.top_k_n)  # else top-k keeps more
        floor_n = np.where(cut_n, floor_n, logits_nk[:, 0] + filters.min_p_offset())
        hidden_n = np.exp(np.minimum(unseen.log_weight(logits_nk[:, 0], floor_n, filters.temperature_n), 600.0))
    cumulative = np.concatenate([np.zeros((len(kept), 1)), np.cumsum(weights, axis=1)], axis=1)

    def share(counts_nk: IntArray, total: FloatArray) -> FloatArray:
        return np.take_along_axis(cumulative, counts_nk, 1) / total[:, None]

    above = share(counts_above(logits_nk, logits_nk), total_n)
    nominal = kept & ((above < filters.top_p_n[:, None]) | (filters.top_p_n >= 1)[:, None])
    scale_nk: FloatArray | float = 1.0
    slope_n, slopes = np.ones(len(kept)), None
    if slope_nk is not None:
        slope_n = np.where(nominal, slope_nk, 0.0).max(axis=1)
        scale_nk, slopes = np.maximum(slope_nk, slope_n[:, None]), Slopes(values_nq=slope_nk, head_nk=slope_nk)
    least, most = [], []
    for slack in slack_levels_e:
        reach = slack * scale_nk
        least.append(share(counts_above(logits_nk, logits_nk + reach), total_n + hidden_n))
        not_below = counts_above(logits_nk, logits_nk - reach, inclusive=True)
        worst = share(not_below, total_n) - weights / total_n[:, None]
        if unseen is not None:
            joined = (logits_nk - reach <= unseen.ceiling_n[:, None]) & (hidden_n > 0)[:, None]
            worst = np.where(joined, 1.0, worst)
        most.append(worst)
    distance_nk = logit_distance(logits_nk, logits_nk, filters, unseen, slopes)
    unsettled = np.zeros(kept.shape, np.bool_)
    distance_n, mass_min_n = np.full(len(kept), -np.inf), np.ones(len(kept))
    if unseen is not None:
        distance_n = _logit_distance(unseen.ceiling_n[:, None], logits_nk, filters)[:, 0]
        distance_n = np.where(unseen.count_n > 0, distance_n, -np.inf)
        unsettled = distance_nk != logit_distance(logits_nk, logits_nk, filters, slopes=slopes)
        unsettled |= ((hidden_n > 0) & (filters.top_p_n < 1))[:, None]
        above_ceiling = counts_above(logits_nk, (unseen.ceiling_n + slack_levels_e[-1])[:, None])
        mass_min_n = share(above_ceiling, total_n + hidden_n)[:, 0]
    return Support(
        nominal_nk=nominal,
        slope_n=slope_n,
        logit_distance_nk=distance_nk,
        mass_above_nk=above,
        mass_above_min_nke=np.stack(least, axis=2),
        mass_above_max_nke=np.stack(most, axis=2),
        unsettled_nk=unsettled,
        unseen_distance_n=distance_n,
        unseen_mass_min_n=mass_min_n,
    )


class MassProfile:
    """Distribution of probability over logits for one position, for supports too wide for the head."""

    def __init__(self, logits_v: NDArray[np.float32], floor: float, temperature: float) -> None:
        """The profile of the tokens that min-p and top-k keep.

        Args:
            logits_v: adjusted logits of the whole vocabulary, in any order.
            floor: the smallest logit kept.
            temperature: positive temperature.
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
        """Probability of one token with each of these logits, all of which occur in the row."""
        at = np.searchsorted(self._ascending, logits_q.astype(np.float32), side="left")
        at = np.minimum(at, len(self._ascending) - 1)
        ties = np.searchsorted(self._ascending, logits_q.astype(np.float32), side="right") - at
        mass: FloatArray = (self._above[at] - self._above[at + ties]) / np.maximum(ties, 1)
        return mass


def counts_above(descending_nk: FloatArray, thresholds_nq: FloatArray, *, inclusive: bool = False) -> IntArray:
    """Number of each row's values above each of its thresholds, int64 [n, q], with one binary search for all rows.

    Args:
        descending_nk: float32 values as float64, each row descending; -inf allowed at the end.
        thresholds_nq: float64, in any order.
        inclusive: True: values equal to the threshold count, too.
    """
    rows, width = descending_nk.shape
    finite = descending_nk[np.isfinite(descending_nk)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    # Each row is moved into a separate interval; a spread of 1e4 logits over 1e4 rows keeps 1e-8 of resolution.
    # Masked values go two below every finite one, and thresholds never further than between.
    stride = (high - low) + 6.0
    offsets = np.arange(rows)[:, None] * stride
    ascending = (offsets - np.clip(descending_nk, low - 2.0, None)).ravel()
    queries = offsets - np.clip(thresholds_nq, low - 1.0, high + 1.0)
    found: IntArray = (
        np.searchsorted(ascending, queries, side="right" if inclusive else "left") - np.arange(rows)[:, None] * width
    )
    return np.clip(found, 0, width)
