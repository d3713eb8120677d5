"""Betting on bounded means: the capital from bets against a hypothesis (Waudby-Smith and Ramdas 2024).

A record r has a weight l_r in [0, 1] (its tokens, as a share of the longest record's) and a value x_r in [0, l_r] (its
events). The rate is E[x] / E[l]. A bettor bets shares of 1 unit on the records one after the other, each bet fixed
before its record is seen. After n records the capital is

    K_n(p) = prod_r (1 + b_r (x_r - p l_r)),        0 <= b_r <= 1 / p            ("more than p")
    K_n(p) = prod_r (1 + b_r (p l_r - x_r)),        0 <= b_r <= 1 / (1 - p)      ("less than p")

which is a nonnegative supermartingale where the rate is p, or on p's other side: it reaches 1 / alpha at any time with
probability at most alpha (Ville 1939). So rates whose capital is 1 / alpha are rejected at level alpha, for any
dependence of the tokens within a record. Sources: arXiv 2010.09686, theorems 1 to 3; Ville's inequality, section 2.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.errors import StatisticsError

MAX_STAKE = 0.97
"""Largest bet as a share of the largest possible one, so that one record cannot take the whole capital."""
BET_WEIGHTS = (0.7, 0.3)
"""Shares of the capital for two bets: one for all-or-nothing records, and a bolder one for records that vary less."""
BOLD = 8.0


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Counts of n records, scaled to [0, 1].

    Attributes:
        value_r: x, in [0, weight].
        weight_r: l, in [0, 1].
        scale: largest value per token, for which x = l stands.
        longest: tokens for which l = 1 stands.
    """

    value_r: FloatArray
    weight_r: FloatArray
    scale: float
    longest: float

    @classmethod
    def of(cls, value_r: FloatArray, tokens_r: FloatArray, *, most_per_token: float, longest: float) -> "Outcomes":
        """Scale counts.

        Args:
            value_r: value of each record, such as events or bits, at most most_per_token * tokens.
            longest: largest number of tokens that any record could have.

        Raises:
            StatisticsError: no record has tokens, or a value is outside its range.
        """
        value_r, tokens_r = np.asarray(value_r, np.float64), np.asarray(tokens_r, np.float64)
        used = tokens_r > 0
        value_r, tokens_r = value_r[used], tokens_r[used]
        if not len(value_r):
            raise StatisticsError("no record with a token: nothing is known of any rate")
        if not np.isfinite(most_per_token) or most_per_token <= 0:
            raise StatisticsError(f"a token's value lies between 0 and a positive limit, not {most_per_token}")
        if tokens_r.max() > longest:
            raise StatisticsError(
                f"a record has {tokens_r.max():g} tokens, more than the most that one can have: {longest:g}"
            )
        # A value is a sum over tokens: a rounding error above the limit is no contradiction.
        if not ((value_r >= 0) & (value_r <= most_per_token * tokens_r * (1 + 1e-9))).all():
            raise StatisticsError(f"a record's value is outside of 0 to {most_per_token:g} a token")
        weight_r = tokens_r / longest
        return cls(
            value_r=np.minimum(value_r / (most_per_token * longest), weight_r),
            weight_r=weight_r,
            scale=most_per_token,
            longest=longest,
        )

    def __len__(self) -> int:
        return len(self.value_r)

    @property
    def rate(self) -> float:
        """Sum of values by sum of weights, in [0, 1]; times `scale`: per token."""
        return float(self.value_r.sum() / self.weight_r.sum())


@dataclass
class Spread:
    """A running estimate of E[(x - p l)^2] from the records before each, started at 1/4. It never looks ahead.

    Attributes:
        records: number of records seen.
        value: sum of their values.
        weight: sum of their weights.
        squares: sum of their squares.
    """

    records: int = 0
    value: float = 0.0
    weight: float = 0.0
    squares: float = 0.0

    def before(self, value_r: FloatArray, weight_r: FloatArray) -> FloatArray:
        """The estimate [r] before each of some further records, which are added to it."""
        count = self.records + np.arange(1, len(value_r) + 1)
        rate = (self.value + np.cumsum(value_r) + 0.5) / (self.weight + np.cumsum(weight_r) + 1)
        squares = self.squares + np.cumsum((value_r - rate * weight_r) ** 2)
        before: FloatArray = (0.25 + np.concatenate([[self.squares], squares[:-1]])) / count
        self.records += len(value_r)
        self.value += float(value_r.sum())
        self.weight += float(weight_r.sum())
        self.squares = float(squares[-1])
        return before


def log_capital_below(
    outcomes: Outcomes, rate: float, goal: float, trials: float, population: int | None = None
) -> float:
    """ln of the capital from bets on less than `rate`; large if the records are evidence for less.

    Args:
        goal: ln(1 / alpha), nats. The bets are those that reach it soonest (`_chernoff_bet`).
        trials: approximate number of longest records with the same weight; must not depend on the sample.
        population: number of all records, if these are a random sample of them without replacement, in random order.
    """
    gain_r = rate * outcomes.weight_r - outcomes.value_r  # at least -(1 - rate)
    most = MAX_STAKE / (1 - rate)
    chernoff = _chernoff_bet(rate, trials, goal, below=True)
    return _log_capital(gain_r, np.minimum([chernoff, np.inf], most), (1 - rate, rate), population)


def log_capital_above(
    outcomes: Outcomes, rate: float, goal: float, trials: float, population: int | None = None
) -> float:
    """ln of the capital from bets on more than `rate`. See `log_capital_below`."""
    gain_r = outcomes.value_r - rate * outcomes.weight_r  # at least -rate
    most = MAX_STAKE / rate
    chernoff = _chernoff_bet(rate, trials, goal, below=False)
    return _log_capital(gain_r, np.minimum([chernoff, BOLD * chernoff], most), (rate, 1 - rate), population)


def _chernoff_bet(rate: float, trials: float, goal: float, *, below: bool) -> float:
    """The bet that rejects `rate` with the least evidence, if every record were all events or none.

    The number of Bernoulli trials that reaches the goal at the observed rate a solves trials * kl(a, rate) = goal, and
    the bet that achieves it is |rate - a| / (rate (1 - rate)). It depends on the number of records, not on their
    contents.
    """

    def short_of_goal(a: float) -> float:
        return trials * kl_divergence(a, rate) - goal

    edge = 0.0 if below else 1.0
    if short_of_goal(edge) <= 0:
        return np.inf
    a = float(brentq(short_of_goal, min(edge, rate), max(edge, rate), xtol=1e-300, rtol=1e-9))
    return abs(rate - a) / (rate * (1 - rate))


def kl_divergence(a: float, b: float) -> float:
    """kl(a, b) of two Bernoulli laws, nats."""
    return (a * log(a / b) if a > 0 else 0.0) + ((1 - a) * log((1 - a) / (1 - b)) if a < 1 else 0.0)


def _log_capital(
    gain_r: FloatArray, bets: FloatArray, range_of_gain: tuple[float, float], population: int | None
) -> float:
    """ln of the mean over bets (weights `BET_WEIGHTS`) of prod (1 + bet * (gain - its mean)).

    Without replacement the gains of the whole population sum to zero, so that the records still to come have the mean
    -(sum so far) / (records left) (arXiv 2010.09686, section 4). If that mean is impossible, so is the hypothesis.

    Args:
        range_of_gain: the largest loss and the largest gain of one record.
    """
    worst, best = range_of_gain
    if population is not None:
        so_far = np.concatenate([[0.0], np.cumsum(gain_r)[:-1]])
        mean_r = -so_far / (population - np.arange(len(gain_r)))
        if (mean_r < -worst - 1e-9).any() or (mean_r > best + 1e-9).any():
            return np.inf
        gain_r = gain_r - mean_r
        # A bet is cut where the gain's own mean would let it lose more than the capital.
        least_r = MAX_STAKE / np.maximum(worst + mean_r, 1e-300)
        return float(logsumexp([np.log1p(np.minimum(bet, least_r) * gain_r).sum() for bet in bets], b=BET_WEIGHTS))
    return float(logsumexp([np.log1p(bet * gain_r).sum() for bet in bets], b=BET_WEIGHTS))
