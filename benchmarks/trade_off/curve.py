"""Curves: for each false-positive rate the threshold that one half of the records chooses, judged on the other."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.trade_off.scored import MARGINS, Choice, Scored, Slack, Sums
from sampler.types import BoolArray, FloatArray
from verifier.calibration import LOGIT_SLACKS, MASS_SLACKS
from verifier.token_noise import MARGIN_EDGES

RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""False-positive rates, shares of tokens."""
TABLE_RATE, CURVE_RATE = 1e-4, 1e-3
"""False-positive rates at which slacks are chosen: for the table, and for the curves."""
TRIED_MASS_SLACKS = MASS_SLACKS[:2] + MASS_SLACKS[3::2]
RESAMPLES = 400
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a curve.

    Attributes:
        rate: dangerous rate that the choosing half was allowed. margin, rank_limit: what it chose.
        dangerous, bits_per_token: on the judging half; low, high: confidence band of the latter, records resampled.
    """

    rate: float
    margin: float
    rank_limit: int
    dangerous: float
    bits_per_token: float
    low: float
    high: float


def counting_curve(scored: Scored, half_r: BoolArray, *, graded: bool) -> list[Point]:
    """The counting bound: log2 of the admissible set.

    Args:
        graded: whether tokens beyond the threshold that are likely enough are only suspicious; else all are dangerous.
    """
    limits = _limits(scored.vocabulary, graded=graded)
    tried: list[tuple[Choice, Sums]] = []
    for margin in MARGINS:
        ranks = scored.beyond(float(margin), half_r)
        tokens = scored.tokens_r[half_r].sum()
        for rate in RATES:
            limit = next((limit for limit in limits if (ranks > limit).sum() <= rate * tokens), limits[-1])
            choice = Choice(float(margin), limit)
            if all(choice != other for other, _ in tried):
                tried.append((choice, scored.sums(choice, half_r)))
    return _curve(tried, lambda choice: scored.sums(choice, ~half_r))


def pooled_curve(scored: Scored, half_r: BoolArray, *, graded: bool) -> list[Point]:
    """The pooled bound; its thresholds are where the bins end. graded: as for `counting_curve`."""
    limits = _limits(scored.vocabulary, graded=graded)
    tried: list[tuple[Choice, Sums]] = []
    edges = np.array(MARGIN_EDGES)
    for edge in MARGIN_EDGES[1:]:
        ranks = scored.beyond(edge, half_r)
        tokens = scored.tokens_r[half_r].sum()
        for rate in RATES:
            limit = next((limit for limit in limits if (ranks > limit).sum() <= rate * tokens), limits[-1])
            choice = Choice(edge, limit)
            if all(choice != other for other, _ in tried):
                code = scored.pooled_code(edges[edges <= edge], limit, half_r)
                tried.append((choice, scored.pooled_sums(code, half_r)))

    def judged(choice: Choice) -> Sums:
        code = scored.pooled_code(edges[edges <= choice.margin], choice.rank_limit, half_r)
        return scored.pooled_sums(code, ~half_r)

    return _curve(tried, judged)


@dataclass(frozen=True)
class Slacks:
    """The slacks that leave least on the choosing half: at `TABLE_RATE` with grades, under the counting and the pooled
    bound, and at `CURVE_RATE` without grades."""

    counting: Slack
    pooled: Slack
    curves: Slack


def chosen_slacks(make: Callable[[Slack], Scored], half_r: BoolArray) -> Slacks:
    """Try all slacks."""
    left: list[tuple[Slack, float, float, float]] = []
    for logits, mass in itertools.product(LOGIT_SLACKS, TRIED_MASS_SLACKS):
        scored = make(Slack(logits, mass))
        margins = [float(margin) for margin in MARGINS[::2] if 0.02 <= margin <= max(logits, 0.02)]
        tokens = scored.tokens_r[half_r].sum()
        least = {True: np.inf, False: np.inf}
        for margin in margins:
            ranks = scored.beyond(margin, half_r)
            for graded, rate in ((True, TABLE_RATE), (False, CURVE_RATE)):
                limits = _limits(scored.vocabulary, graded=graded)
                limit = next((limit for limit in limits if (ranks > limit).sum() <= rate * tokens), None)
                if limit is not None:
                    bits = scored.sums(Choice(margin, limit), half_r).bits_per_token
                    least[graded] = min(least[graded], bits)
        ranks = scored.beyond(MARGIN_EDGES[-1], half_r)
        limit = next(
            one for one in _limits(scored.vocabulary, graded=True) if (ranks > one).sum() <= TABLE_RATE * tokens
        )
        code = scored.pooled_code(np.array(MARGIN_EDGES), limit, half_r)
        pooled = scored.pooled_sums(code, half_r).bits_per_token
        left.append((Slack(logits, mass), least[True], pooled, least[False]))
    counting, of_pooled, curves = (min(left, key=lambda one, at=at: one[at])[0] for at in (1, 2, 3))  # type: ignore[misc]
    return Slacks(counting, of_pooled, curves)


def _limits(vocabulary: int, *, graded: bool) -> list[int]:
    """Rank limits to choose from; 1 is the least, and makes hardly any token suspicious."""
    if not graded:
        return [1]
    return [2**k for k in range(1, int(np.ceil(np.log2(vocabulary))))] + [vocabulary]


def _curve(tried: list[tuple[Choice, Sums]], judge: Callable[[Choice], Sums]) -> list[Point]:
    points = []
    for rate in RATES:
        fit = [(choice, sums) for choice, sums in tried if sums.dangerous <= rate]
        if not fit:
            continue
        choice, _ = min(fit, key=lambda one: one[1].bits_per_token)
        sums = judge(choice)
        low, high = _band(sums)
        points.append(
            Point(
                rate=rate,
                margin=choice.margin,
                rank_limit=choice.rank_limit,
                dangerous=sums.dangerous,
                bits_per_token=sums.bits_per_token,
                low=low,
                high=high,
            )
        )
    return points


def _band(sums: Sums) -> tuple[float, float]:
    """Percentile bootstrap over records (Efron 1979)."""
    means = np.array(list(_resampled(sums.bits_r, sums.tokens_r)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _resampled(value_r: FloatArray, tokens_r: FloatArray) -> Iterator[float]:
    rng = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        which = rng.integers(len(value_r), size=len(value_r))
        yield float(value_r[which].sum() / tokens_r[which].sum())
