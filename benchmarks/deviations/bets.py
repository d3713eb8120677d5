"""The bets of the series monitor, one by one: every one multiplies its share of the capital record by record."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import logsumexp

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.statistics.conditional_e_process import CAPS, log_factors
from weightwarden.verifier.statistics.e_process import RateEProcess
from weightwarden.verifier.statistics.effect_sizes import BetGrowth
from weightwarden.verifier.verification.series_monitor import CONDITIONAL_SHARE, LOG_RATIO, SeriesMonitor

LEVELS = (1e-2, 1e-4, 1e-6, 1e-9)
POWERS = (0.5, 0.75, 0.9, 0.99, 0.999)
"""Alarm levels and powers at which the fastest bets are kept."""
STEP = 256
"""Number of records of an order that are looked at together."""


@dataclass(frozen=True)
class RecordFactors:
    """Factors by which records multiply the bets of a monitor.

    Attributes:
        names: names of the bets.
        log_share_p: ln of each bet's share of the first capital, nats.
        log_factor_rp: ln of the factor of each record, nats.
        tokens_r: tokens of each record.
    """

    names: list[str]
    log_share_p: FloatArray
    log_factor_rp: FloatArray
    tokens_r: FloatArray

    @classmethod
    def of(cls, monitor: SeriesMonitor, columns: dict[str, FloatArray]) -> Self:
        """The factors of some records under a monitor, which is not changed.

        Args:
            columns: as in `SeriesMonitor.add`.
        """
        conditional_rck = log_factors(columns[LOG_RATIO], monitor.conditional.contamination)
        names = [f"conditional {bet}, cap {cap:g}" for cap in CAPS for bet in range(conditional_rck.shape[2])]
        share_p = np.full(len(names), np.log(CONDITIONAL_SHARE / len(names)))
        flagged = cls._of_rates({"flagged": monitor.monitors["flagged"]}, columns)
        return cls(
            names + flagged.names,
            np.concatenate([share_p, flagged.log_share_p + np.log1p(-CONDITIONAL_SHARE)]),
            np.concatenate([conditional_rck.reshape(len(conditional_rck), -1), flagged.log_factor_rp], axis=1),
            columns["tokens"],
        )

    @classmethod
    def before(cls, monitor: SeriesMonitor, columns: dict[str, FloatArray]) -> Self:
        """The factors under the mean of the monitor's rates, each with its largest weight limit alone.

        This was the monitor before it had the conditional test.
        """
        rates = {name: replace(rate, weight_limits=rate.weight_limits[:1]) for name, rate in monitor.monitors.items()}
        return cls._of_rates(rates, columns)

    @classmethod
    def _of_rates(cls, rates: dict[str, RateEProcess], columns: dict[str, FloatArray]) -> Self:
        """The factors under the mean of some rates."""
        names: list[str] = []
        shares: list[FloatArray] = []
        factors: list[FloatArray] = []
        tokens_r = columns["tokens"]
        for name, rate in rates.items():
            units_r = np.ones_like(tokens_r) if name == "flagged" else tokens_r
            found_rlk = rate.log_factors(np.minimum(columns[name], rate.most_per_token * units_r), units_r)
            bets = found_rlk.shape[1] * found_rlk.shape[2]
            names += [f"{name}, weight {limit:g}" for limit in rate.weight_limits for _ in range(found_rlk.shape[2])]
            shares.append(np.full(bets, -np.log(len(rates) * bets)))
            factors.append(found_rlk.reshape(len(tokens_r), bets))
        return cls(names, np.concatenate(shares), np.concatenate(factors, axis=1), tokens_r)

    def growths(self) -> list[BetGrowth]:
        """The bets that are the fastest to an alarm at some of `LEVELS` and `POWERS`."""
        mean_p, variance_p = self.log_factor_rp.mean(axis=0), self.log_factor_rp.var(axis=0, ddof=1)
        grow = np.flatnonzero(mean_p > 0)
        all_of = {
            int(at): BetGrowth(
                bet=self.names[at],
                log_share=float(self.log_share_p[at]),
                nats_per_record=float(mean_p[at]),
                variance_per_record=float(variance_p[at]),
            )
            for at in grow
        }
        if not all_of:
            return []
        fastest = {
            min(all_of, key=lambda at: all_of[at].records_to_alarm(level, power))
            for level in LEVELS
            for power in POWERS
        }
        return [all_of[at] for at in sorted(fastest)]

    def tokens_to_alarm(self, alarm_level: float, rng: np.random.Generator, most_records: int) -> float:
        """Tokens of records in a random order until the alarm; inf where none comes within `most_records`.

        Each record once, in a random order; then records drawn with replacement.
        """
        log_capital_p, tokens = self.log_share_p, 0.0
        for order_r in self._orders(rng, most_records):
            path_rp = log_capital_p + np.cumsum(self.log_factor_rp[order_r], axis=0)
            reached_r = logsumexp(path_rp, axis=1) >= np.log(1 / alarm_level)
            if reached_r.any():
                return tokens + float(self.tokens_r[order_r[: int(reached_r.argmax()) + 1]].sum())
            log_capital_p, tokens = path_rp[-1], tokens + float(self.tokens_r[order_r].sum())
        return float("inf")

    def largest_log_capital(self, order_r: IntArray) -> float:
        """The largest ln of the capital, nats, over records in an order."""
        path_rp = self.log_share_p + np.cumsum(self.log_factor_rp[order_r], axis=0)
        return float(logsumexp(path_rp, axis=1).max())

    def _orders(self, rng: np.random.Generator, most_records: int) -> list[IntArray]:
        count = len(self.tokens_r)
        first = rng.permutation(count)
        order_r = np.concatenate([first, rng.integers(count, size=max(0, most_records - count))])[:most_records]
        return [order_r[start : start + STEP] for start in range(0, len(order_r), STEP)]
