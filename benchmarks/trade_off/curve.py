"""Curves: for each false-positive rate the threshold that one half of the prompts chooses, judged on the other."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from benchmarks.trade_off.scored import MARGINS, Choice, Scored, Slack, Sums
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.calibration.threshold_choice import LOGIT_SLACKS, MASS_SLACKS
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.statistics.intervals import clopper_pearson

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
        rate: dangerous rate that the choosing half was allowed.
        margin: margin threshold that it chose.
        rank_limit: rank limit that it chose.
        dangerous: dangerous rate on the judging half.
        bits_per_token: bits per token on the judging half.
        low: lower end of the confidence band of `bits_per_token`, prompts resampled.
        high: upper end of the confidence band of `bits_per_token`, prompts resampled.
        dangerous_upper: upper limit of the dangerous rate if tokens were independent (Clopper and Pearson 1934,
            one-sided 95%).
    """

    rate: float
    margin: float
    rank_limit: int
    dangerous: float
    dangerous_upper: float
    bits_per_token: float
    low: float
    high: float


def counting_curve(scored: Scored, half_p: BoolArray, *, graded: bool) -> list[Point]:
    """The counting bound: log2 of the admissible set.

    Args:
        graded: whether likely enough tokens beyond the threshold are only suspicious; otherwise all are dangerous.
    """
    limits = _limits(scored.vocabulary, graded=graded)
    tokens = float(scored.tokens_p[half_p].sum())
    tried: list[tuple[Choice, Sums]] = []
    for margin in MARGINS:
        ranks = scored.beyond(float(margin), half_p)
        for rate in RATES:
            limit = _least(limits, ranks, rate * tokens) or limits[-1]
            choice = Choice(float(margin), limit)
            if all(choice != other for other, _ in tried):
                tried.append((choice, scored.sums(choice, half_p)))
    return _curve(tried, lambda choice: scored.sums(choice, ~half_p))


def pooled_curve(scored: Scored, half_p: BoolArray, *, graded: bool) -> list[Point]:
    """The pooled bound, with thresholds at the ends of the bins.

    Args:
        graded: as for `counting_curve`.
    """
    limits = _limits(scored.vocabulary, graded=graded)
    tokens = float(scored.tokens_p[half_p].sum())
    tried: list[tuple[Choice, Sums]] = []
    edges = np.array(MARGIN_EDGES)
    for edge in MARGIN_EDGES[1:]:
        ranks = scored.beyond(edge, half_p)
        for rate in RATES:
            limit = _least(limits, ranks, rate * tokens) or limits[-1]
            choice = Choice(edge, limit)
            if all(choice != other for other, _ in tried):
                code = scored.pooled_code(edges[edges <= edge], limit, half_p)
                tried.append((choice, scored.pooled_sums(code, half_p)))

    def judged(choice: Choice) -> Sums:
        code = scored.pooled_code(edges[edges <= choice.margin], choice.rank_limit, half_p)
        return scored.pooled_sums(code, ~half_p)

    return _curve(tried, judged)


@dataclass(frozen=True)
class Slacks:
    """The slacks that leave least information on the choosing half.

    At `TABLE_RATE` with grades, under the counting and the pooled bound, and at `CURVE_RATE` without grades.
    """

    counting: Slack
    pooled: Slack
    curves: Slack


def chosen_slacks(make: Callable[[Slack], Scored], half_p: BoolArray) -> Slacks:
    """Try all slacks."""
    left: list[tuple[Slack, float, float, float]] = []
    for logits, mass in itertools.product(LOGIT_SLACKS, TRIED_MASS_SLACKS):
        scored = make(Slack(logits, mass))
        margins = [float(margin) for margin in MARGINS[::2] if 0.02 <= margin <= max(logits, 0.02)]
        tokens = scored.tokens_p[half_p].sum()
        least = {True: np.inf, False: np.inf}
        for margin in margins:
            ranks = scored.beyond(margin, half_p)
            for graded, rate in ((True, TABLE_RATE), (False, CURVE_RATE)):
                limit = _least(_limits(scored.vocabulary, graded=graded), ranks, rate * tokens)
                if limit is not None:
                    bits = scored.sums(Choice(margin, limit), half_p).bits_per_token
                    least[graded] = min(least[graded], bits)
        ranks = scored.beyond(MARGIN_EDGES[-1], half_p)
        limit = _least(_limits(scored.vocabulary, graded=True), ranks, TABLE_RATE * tokens) or scored.vocabulary
        code = scored.pooled_code(np.array(MARGIN_EDGES), limit, half_p)
        pooled = scored.pooled_sums(code, half_p).bits_per_token
        left.append((Slack(logits, mass), least[True], pooled, least[False]))
    return Slacks(*(min(left, key=itemgetter(at))[0] for at in (1, 2, 3)))


def _limits(vocabulary: int, *, graded: bool) -> list[int]:
    """Rank limits to choose from; 1 is the least, and makes hardly any token suspicious."""
    if not graded:
        return [1]
    return [2**k for k in range(1, int(np.ceil(np.log2(vocabulary))))] + [vocabulary]


def _least(limits: Sequence[int], ranks: IntArray, most: float) -> int | None:
    """The least rank limit with no more tokens beyond it than allowed."""
    return next((limit for limit in limits if (ranks > limit).sum() <= most), None)


def _curve(tried: list[tuple[Choice, Sums]], judge: Callable[[Choice], Sums]) -> list[Point]:
    points = []
    for rate in RATES:
        if rate != TABLE_RATE and rate * float(sum(tried[0][1].tokens_p)) < 1:
            continue  # not a single event: these rates are all alike
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
                dangerous_upper=clopper_pearson(
                    int(sums.dangerous_p.sum()), int(sums.tokens_p.sum()), 2 * CONFIDENCE - 1
                ).high,
                bits_per_token=sums.bits_per_token,
                low=low,
                high=high,
            )
        )
    return points


def _band(sums: Sums) -> tuple[float, float]:
    """Percentile bootstrap over prompts (Efron 1979)."""
    means = np.array(list(_resampled(sums.bits_p, sums.tokens_p)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _resampled(value_p: FloatArray, tokens_p: FloatArray) -> Iterator[float]:
    rng = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        which = rng.integers(len(value_p), size=len(value_p))
        yield float(value_p[which].sum() / tokens_p[which].sum())
