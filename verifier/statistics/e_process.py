"""An alarm that may be watched all the time: an e-process, capital that honest traffic seldom multiplies.

Who bets that the rate is higher than an honest one has capital that an honest stream multiplies by 1 / alpha, at any
time, with probability at most alpha (Ville 1939; betting as in `verifier.statistics.betting`). So the alarm may be
looked at after every record without spending its error budget, and the capital says how strong the evidence is: 20
is what one would call 5%. Capital of several monitors of the same traffic may be averaged.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.betting import MAX_STAKE, Outcomes, kl_divergence
from weightwarden.verifier.statistics.errors import StatisticsError

STAKES = 24
"""Bets made side by side, from 1/100 to nearly all that may be bet."""


@dataclass
class RateEProcess:
    """The e-process of one rate: is it at most what an honest server has?

    Null hypothesis: given all records before it, each has E[weight * value per token] <= honest_rate * E[weight],
    whatever its tokens do together; a record's weight is its tokens, up to `longest`. For records no longer than that,
    the rate is one per token; were records of any length weighted alike, honest short ones could look bad. A mixture
    over fixed bets.

    Attributes:
        honest_rate: upper limit of the honest value per token, in (0, most_per_token).
        most_per_token: largest value per token. longest: tokens of a record that weighs most.
        records, tokens, value: what was added.
        log_capital_k: ln of the capital of each bet. log_best: the largest ln capital of the mixture so far, nats.
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
        """A monitor that has seen nothing.

        Raises:
            StatisticsError: a rate that no bet can be made against.
        """
        if not 0 < honest_rate < most_per_token or not longest >= 1:
            raise StatisticsError(
                f"an honest rate lies between 0 and {most_per_token:g} a token, not {honest_rate}; a record has up to"
                f" {longest} tokens"
            )
        return cls(honest_rate, most_per_token, longest, 0, 0.0, 0.0, np.zeros(STAKES), 0.0)

    def add(self, value_r: FloatArray, tokens_r: FloatArray) -> None:
        """Add records in the order in which they came; those without tokens say nothing.

        Raises:
            StatisticsError: a value out of range; nothing was added.
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
        """ln of the capital now, nats: the e-value of all that was added."""
        return float(_mixture(self.log_capital_k))

    @property
    def p_value(self) -> float:
        """At most this share of honest streams ever looks so bad (anytime-valid)."""
        return float(np.exp(-self.log_best))

    def alarms_at(self, alarm_level: float) -> bool:
        """Whether the capital has ever reached 1 / false_alarm."""
        return self.p_value <= alarm_level


def _mixture(log_capital_k: FloatArray) -> FloatArray:
    """ln of the mean of capitals over the last axis."""
    mean: FloatArray = logsumexp(log_capital_k, axis=-1) - np.log(log_capital_k.shape[-1])
    return mean


def records_to_alarm(rate: float, *, honest_rate: float, alarm_level: float, most_per_token: float = 1.0) -> float:
    """Longest records after which a monitor can be expected to alarm at a rate above the honest one.

    Capital grows at best by kl(rate, honest rate) nats a record where records are all or nothing; where tokens of a
    record vary less, sooner. So: ln(1 / false_alarm) and the price of the mixture over that growth; inf where the rate
    is honest.
    """
    p, q = rate / most_per_token, honest_rate / most_per_token
    if p <= q:
        return float("inf")
    return float((np.log(1 / alarm_level) + np.log(STAKES)) / kl_divergence(p, q))
