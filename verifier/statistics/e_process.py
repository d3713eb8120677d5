"""An alarm that may be watched continuously: an e-process, a capital that honest traffic seldom multiplies.

The capital from bets on a rate higher than the honest one is multiplied by 1 / alpha in an honest stream, at any time,
with probability at most alpha (Ville 1939; betting as in `verifier.statistics.betting`). So the alarm may be inspected
after every record without spending its error budget, and the capital measures the evidence: 20 corresponds to 5%.
Capital of several monitors of the same traffic may be averaged.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.betting import MAX_STAKE, Outcomes, kl_divergence
from weightwarden.verifier.statistics.errors import StatisticsError

STAKES = 24
"""Bets made in parallel, from 1/100 of the largest possible bet to nearly all of it."""


@dataclass
class RateEProcess:
    """The e-process of one rate, against the hypothesis that the rate is at most an honest server's.

    Null hypothesis: given all records before it, each has E[weight * value per token] <= honest_rate * E[weight], for
    any dependence of its tokens; a record's weight is its tokens, up to `longest`. For records no longer than that, the
    rate is one per token. If records of any length weighed alike, honest short ones could look bad. A mixture over
    fixed bets.

    Attributes:
        honest_rate: upper limit of the honest value per token, in (0, most_per_token).
        most_per_token: largest value per token.
        longest: tokens of a record with the largest weight.
        records: number of records added.
        tokens: output tokens of the records added.
        value: sum of the values added.
        log_capital_k: ln of the capital of each bet.
        log_best: the largest ln capital of the mixture so far, nats.
    """

    honest_rate: float
    most_per_token: float
    longest: float
    records: int
    tokens: float
    value: float
    log_capital_k: FloatArray
    log_best: float

    @classmethod
    def new(cls, *, honest_rate: float, longest: float, most_per_token: float = 1.0) -> "RateEProcess":
        """A monitor without records.

        Raises:
            StatisticsError: no bet can be made against the rate.
        """
        if not 0 < honest_rate < most_per_token or not longest >= 1:
            raise StatisticsError(
                f"an honest rate lies between 0 and {most_per_token:g} a token, not {honest_rate}; a record has up to"
                f" {longest} tokens"
            )
        return cls(honest_rate, most_per_token, longest, 0, 0.0, 0.0, np.zeros(STAKES), 0.0)

    def add(self, value_r: FloatArray, tokens_r: FloatArray) -> None:
        """Add records in the order of their arrival. Records without tokens are no evidence.

        Raises:
            StatisticsError: a value is out of range; nothing was added.
        """
        answered = tokens_r > 0
        value_r, tokens_r = value_r[answered], tokens_r[answered]
        if not len(tokens_r):
            return
        weight_r = np.minimum(tokens_r, self.longest)
        outcomes = Outcomes.of(
            value_r / tokens_r * weight_r, weight_r, most_per_token=self.most_per_token, longest=self.longest
        )
        rate = self.honest_rate / self.most_per_token
        bets_k = np.geomspace(0.01, MAX_STAKE / rate, STAKES)
        gain_r = outcomes.value_r - rate * outcomes.weight_r
        path_rk = self.log_capital_k + np.cumsum(np.log1p(bets_k * gain_r[:, None]), axis=0)
        self.log_best = max(self.log_best, float(_mixture(path_rk).max()))
        self.log_capital_k = path_rk[-1]
        self.records += len(outcomes)
        self.tokens += float(tokens_r.sum())
        self.value += float(value_r.sum())

    @property
    def log_capital(self) -> float:
        """ln of the capital now, nats: the e-value of all records added."""
        return float(_mixture(self.log_capital_k))

    @property
    def p_value(self) -> float:
        """The share of honest streams, at most, that ever look so bad (anytime-valid)."""
        return float(np.exp(-self.log_best))

    def alarms_at(self, alarm_level: float) -> bool:
        """True if the capital has ever reached 1 / `alarm_level`."""
        return self.p_value <= alarm_level


def _mixture(log_capital_k: FloatArray) -> FloatArray:
    """ln of the mean of capitals over the last axis."""
    mean: FloatArray = logsumexp(log_capital_k, axis=-1) - np.log(log_capital_k.shape[-1])
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
