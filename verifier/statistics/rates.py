"""Rates per token with the record as the sampling unit: limits that hold for any dependence within a record.

Tokens of one answer depend on each other, so an audit of 100 records yields little more than 100 observations, for any
number of tokens. `rate_limits` holds for records that were sampled at random, with no assumption about their tokens;
`RateSequence` holds at every moment of a series that is watched as it grows. The clustered intervals of
`verifier.statistics.intervals` are narrower, and approximate.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.betting import Outcomes, Spread, log_capital_above, log_capital_below
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.intervals import Interval

Side = Literal["upper", "lower", "both"]
STEPS = 40
"""Number of bisections of a limit: to 2^-40 of the scale, about 1e-12."""


@dataclass(frozen=True, kw_only=True)
class Population:
    """All records that have tokens, some of which were sampled without replacement, and the number of their tokens."""

    records: int
    tokens: float


def rate_limits(
    value_r: FloatArray,
    tokens_r: FloatArray,
    *,
    confidence: float,
    side: Side = "both",
    longest: float | None = None,
    most_per_token: float = 1.0,
    population: Population | None = None,
    trials: float | None = None,
) -> Interval:
    """Confidence limits of a value per token, such as a rate of mismatches or the mean of charged bits.

    With probability at least `confidence` over the choice of the records the true rate (values by tokens, of the
    population, or of the source of independent records) lies within the limits. The tokens of one record may depend on
    each other in any way. From betting (`verifier.statistics.betting`).

    Args:
        value_r: value of each sampled record, in random order. (For a sample without replacement, an order that depends
            on the records' places in the log would let an attacker choose it.)
        tokens_r: tokens of each sampled record, in the same order.
        side: "upper" and "lower" spend the whole error on one limit; the other one is trivial.
        longest: largest number of tokens that any record can have; None if no record is longer than the longest sampled
            one.
        most_per_token: largest value per token, in the value's unit.
        population: the population, for a sample without replacement. If all of it is sampled, nothing is uncertain.
        trials: number of longest records with the weight of the sample, about, for the size of the bets; None to take
            it from the number of records. It must not depend on what was sampled.

    Returns:
        The interval in the value's unit per token.

    Raises:
        StatisticsError: there are no tokens, a value is out of range, or a population is smaller than its sample.
    """
    if not 0 < confidence < 1:
        raise StatisticsError(f"a confidence lies in (0, 1), not {confidence}")
    tokens_r = np.asarray(tokens_r, np.float64)
    longest = float(tokens_r.max(initial=0.0)) if longest is None else longest
    outcomes = Outcomes.of(value_r, tokens_r, most_per_token=most_per_token, longest=longest)
    alpha = (1 - confidence) / (2 if side == "both" else 1)
    goal, records = float(np.log(1 / alpha)), None
    least, most = 0.0, 1.0
    trials = float(len(outcomes)) if trials is None else trials
    if population is not None:
        records = population.records
        trials *= min(population.tokens / (population.records * longest), 1.0)
        least, most = _logical_limits(outcomes, population)

    low, high = least, most
    if side != "upper" and least < outcomes.rate:
        low = _last_rejected(
            lambda p: log_capital_above(outcomes, p, goal, trials, records) >= goal, least, outcomes.rate
        )
    if side != "lower" and outcomes.rate < most:
        high = _last_rejected(
            lambda p: log_capital_below(outcomes, p, goal, trials, records) >= goal, most, outcomes.rate
        )
    return Interval(outcomes.rate * outcomes.scale, max(low, least) * outcomes.scale, min(high, most) * outcomes.scale)


def _logical_limits(outcomes: Outcomes, population: Population) -> tuple[float, float]:
    """The limits left possible by the seen part of a population: none, or all, of the unseen tokens."""
    seen, total = float(outcomes.weight_r.sum()), population.tokens / outcomes.longest
    if population.records < len(outcomes) or total < seen * (1 - 1e-12):
        raise StatisticsError(
            f"{len(outcomes)} records with {seen * outcomes.longest:.0f} tokens are no sample of"
            f" {population.records} records with {population.tokens}"
        )
    value, unseen = float(outcomes.value_r.sum()), max(total - seen, 0.0)
    return value / total, (value + unseen) / total


def _last_rejected(rejected: Callable[[float], bool], far: float, near: float) -> float:
    """The end of the rejected rates between `far` and `near`, on their side; `far` if not even that is rejected."""
    end, far = far, min(max(far, 1e-12), 1 - 1e-12)
    if not rejected(far):
        return end
    for _ in range(STEPS):
        middle = (far + near) / 2
        far, near = (middle, near) if rejected(middle) else (far, middle)
    return far


GRID_R = np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 1200)])
"""Rates, as shares of the largest value, at which a sequence keeps capital: neighbours are 1.5% apart."""
SEQUENCE_STAKE = 0.6
"""Share of the largest possible bet that a sequence makes, since it must suit records of any kind."""
CHUNK = 1024


@dataclass(kw_only=True)
class RateSequence:
    """Confidence limits of a value per token that hold at every record of a series at once (a confidence sequence).

    The limits may be inspected at any time and stopped for any reason: with probability at least `confidence` the true
    rate is within the limits at every moment. Assumes that the records are a random stream of one source: given the
    past, each has the same expected (value - rate * tokens) of zero. Limits are rounded outward to a grid of 1,200
    rates.

    Attributes:
        most_per_token: largest value per token, in the value's unit.
        longest: largest number of tokens of a record.
    """

    confidence: float
    longest: float
    most_per_token: float = 1.0
    spread: Spread = field(default_factory=Spread)
    log_capital_below_p: FloatArray = field(default_factory=lambda: np.zeros(len(GRID_R)))
    log_capital_above_p: FloatArray = field(default_factory=lambda: np.zeros(len(GRID_R)))
    best_below_p: FloatArray = field(default_factory=lambda: np.zeros(len(GRID_R)))
    best_above_p: FloatArray = field(default_factory=lambda: np.zeros(len(GRID_R)))

    def add(self, value_r: FloatArray, tokens_r: FloatArray) -> None:
        """Add records in the order of their arrival. Records without tokens are no evidence.

        Raises:
            StatisticsError: a value is out of range, or a record is longer than `longest`.
        """
        if not np.asarray(tokens_r).any():
            return
        outcomes = Outcomes.of(value_r, tokens_r, most_per_token=self.most_per_token, longest=self.longest)
        for start in range(0, len(outcomes), CHUNK):
            self._add(outcomes.value_r[start : start + CHUNK], outcomes.weight_r[start : start + CHUNK])

    def _add(self, value_r: FloatArray, weight_r: FloatArray) -> None:
        time_r = self.spread.records + np.arange(1, len(value_r) + 1)
        spread_r = self.spread.before(value_r, weight_r)
        alpha = (1 - self.confidence) / 2
        bets_r = np.sqrt(2 * np.log(1 / alpha) / (spread_r * time_r * np.log(time_r + 1)))  # arXiv 2010.09686, eq. 24
        gain_rp = value_r[:, None] - weight_r[:, None] * GRID_R
        with np.errstate(divide="ignore"):
            above_rp = np.minimum(bets_r[:, None], SEQUENCE_STAKE / GRID_R)
            below_rp = np.minimum(bets_r[:, None], SEQUENCE_STAKE / (1 - GRID_R))
        path = self.log_capital_above_p + np.cumsum(np.log1p(above_rp * gain_rp), axis=0)
        self.log_capital_above_p, self.best_above_p = path[-1], np.maximum(self.best_above_p, path.max(axis=0))
        path = self.log_capital_below_p + np.cumsum(np.log1p(-below_rp * gain_rp), axis=0)
        self.log_capital_below_p, self.best_below_p = path[-1], np.maximum(self.best_below_p, path.max(axis=0))

    def limits(self) -> Interval:
        """The limits now, in the value's unit per token.

        Raises:
            StatisticsError: there is no token yet.
        """
        if not self.spread.records:
            raise StatisticsError("no record with a token yet")
        goal = np.log(2 / (1 - self.confidence))
        low, high = GRID_R[self.best_above_p >= goal], GRID_R[self.best_below_p >= goal]
        rate = self.spread.value / self.spread.weight
        return Interval(
            rate * self.most_per_token,
            min(float(low.max(initial=0.0)), rate) * self.most_per_token,
            max(float(high.min(initial=1.0)), rate) * self.most_per_token,
        )
