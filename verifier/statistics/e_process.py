"""An alarm that may be watched continuously: an e-process, a capital that honest traffic seldom multiplies.

The capital from bets on a rate higher than the honest one is multiplied by 1 / alpha in an honest stream, at any time,
with probability at most alpha (Ville 1939; betting as in `verifier.statistics.betting`). So the alarm may be inspected
after every record without spending its error budget, and the capital measures the evidence: 20 corresponds to 5%.
Capital of several monitors of the same traffic may be averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.betting import MAX_STAKE, Outcomes, kl_divergence
from weightwarden.verifier.statistics.errors import StatisticsError

STAKES = 24
"""Bets made in parallel, from 1/100 of the largest possible bet to nearly all of it."""
LEAST_WEIGHT_LIMIT = 16.0
"""Smallest weight limit of a mixture over several, tokens."""


def weight_limits(longest: float) -> tuple[float, ...]:
    """Weight limits of records, tokens: the given one and its quarters, down to `LEAST_WEIGHT_LIMIT`.

    With one limit far above their lengths, bets on short records are small. The best of several is seldom more than
    twice their length.
    """
    limits = [float(longest)]
    while limits[-1] / 4 >= LEAST_WEIGHT_LIMIT:
        limits.append(limits[-1] / 4)
    return tuple(limits)


@dataclass
class RateEProcess:
    """The e-process of one rate, against the hypothesis that the rate is at most an honest server's.

    Null hypothesis: given all records before it, each has E[weight * value per token] <= honest_rate * E[weight], for
    any dependence of its tokens; a record's weight is its tokens, up to a weight limit. For records no longer than
    that, the rate is one per token. If records of any length weighed alike, honest short ones could look bad. A mixture
    over weight limits and fixed bets.

    Attributes:
        honest_rate: upper limit of the honest value per token, in (0, most_per_token).
        most_per_token: largest value per token.
        weight_limits: tokens of a record with the largest weight, the largest first.
        records: number of records added.
        tokens: output tokens of the records added.
        value: sum of the values added.
        log_capital_lk: ln of the capital at each weight limit and of each bet.
        log_best: the largest ln capital of the mixture so far, nats.
    """

    honest_rate: float
    most_per_token: float
    weight_limits: tuple[float, ...]
    records: int
    tokens: float
    value: float
    log_capital_lk: FloatArray
    log_best: float

    @classmethod
    def new(cls, *, honest_rate: float, weight_limits: Sequence[float], most_per_token: float = 1.0) -> "RateEProcess":
        """A monitor without records.

        Raises:
            StatisticsError: no bet can be made against the rate.
        """
        limits = tuple(float(limit) for limit in weight_limits)
        if not 0 < honest_rate < most_per_token or not limits or not min(limits) >= 1:
            raise StatisticsError(
                f"an honest rate lies between 0 and {most_per_token:g} a token, not {honest_rate}; a record weighs up"
                f" to {limits} tokens"
            )
        return cls(honest_rate, most_per_token, limits, 0, 0.0, 0.0, np.zeros((len(limits), STAKES)), 0.0)

    def add(self, value_r: FloatArray, tokens_r: FloatArray) -> None:
        """Add records in the order of their arrival. Records without tokens are no evidence.

        Raises:
            StatisticsError: a value is out of range; nothing was added.
        """
        answered = tokens_r > 0
        value_r, tokens_r = value_r[answered], tokens_r[answered]
        if not len(tokens_r):
            return
        path_rlk = self.log_capital_lk + np.cumsum(self.log_factors(value_r, tokens_r), axis=0)
        self.log_best = max(self.log_best, float(log_mean(path_rlk).max()))
        self.log_capital_lk = path_rlk[-1]
        self.records += len(tokens_r)
        self.tokens += float(tokens_r.sum())
        self.value += float(value_r.sum())

    def log_factors(self, value_r: FloatArray, tokens_r: FloatArray) -> FloatArray:
        """ln of the factor [records, weight limits, bets] by which each record multiplies each capital, nats.

        Args:
            tokens_r: tokens of each record, positive.

        Raises:
            StatisticsError: a value is out of range.
        """
        rate = self.honest_rate / self.most_per_token
        bets_k = np.geomspace(0.01, MAX_STAKE / rate, STAKES)
        factors_rlk = np.empty((len(tokens_r), len(self.weight_limits), STAKES))
        for at, limit in enumerate(self.weight_limits):
            weight_r = np.minimum(tokens_r, limit)
            outcomes = Outcomes.of(
                value_r / tokens_r * weight_r, weight_r, most_per_token=self.most_per_token, longest=limit
            )
            gain_r = outcomes.value_r - rate * outcomes.weight_r
            factors_rlk[:, at] = np.log1p(bets_k * gain_r[:, None])
        return factors_rlk

    @property
    def log_capital(self) -> float:
        """ln of the capital now, nats: the e-value of all records added."""
        return float(log_mean(self.log_capital_lk))

    @property
    def p_value(self) -> float:
        """The share of honest streams, at most, that ever look so bad (anytime-valid)."""
        return float(np.exp(-self.log_best))

    def alarms_at(self, alarm_level: float) -> bool:
        """True if the capital has ever reached 1 / `alarm_level`."""
        return self.p_value <= alarm_level


def log_mean(log_capital_mk: FloatArray) -> FloatArray:
    """ln of the mean of capitals [..., m, k] over the last two axes."""
    count = log_capital_mk.shape[-2] * log_capital_mk.shape[-1]
    mean: FloatArray = logsumexp(log_capital_mk, axis=(-2, -1)) - np.log(count)
    return mean


def records_to_alarm(rate: float, *, honest_rate: float, alarm_level: float, most_per_token: float = 1.0) -> float:
    """Expected number of longest records until a monitor alarms at a rate above the honest one.

    Capital grows at best by kl(rate, honest rate) nats a record if records are all or nothing, and faster if tokens of
    a record vary less. The result is (ln(1 / `alarm_level`) + the cost of the mixture) / that growth; inf where the
    rate is honest.
    """
    p, q = rate / most_per_token, honest_rate / most_per_token
    if p <= q:
        return float("inf")
    return float((np.log(1 / alarm_level) + np.log(STAKES)) / kl_divergence(p, q))
