"""The alarm over a series of audits: the conditional test and the flagged records; and the rates, which raise none."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.statistics.conditional_e_process import ConditionalEProcess
from weightwarden.verifier.statistics.e_process import RateEProcess, weight_limits
from weightwarden.verifier.statistics.errors import StatisticsError

WATCHED = ("mismatches", "suspicious", "dangerous", "pooled_bits", "outlying", "flagged")
"""Names of the quantities watched of every record: three counts of tokens, the bits that the record could have carried,
whether it holds an outlier, and whether it is flagged. The last counts by records, all others by tokens.
"""
LOG_RATIO = "log_ratio"
"""Name of the ln of each record's e-values in the conditional test, nats [records, bets]; watched beside `WATCHED`."""
UNLIKE_LEVEL = 0.01
"""Probability that traffic like the calibration's is ever said to differ from it."""
CONDITIONAL_SHARE = 0.75
"""Share of the capital that is bet in the conditional test; the rest is bet on flagged records."""


@dataclass
class SeriesMonitor:
    """Monitor of a series of audited records, all under one policy.

    The capital is a mean of two e-processes, and so one itself: the conditional test, whose bounds hold for any prompts
    and filters, and the rate of flagged records. The capital is inspected after every audit.

    The rates of other events depend on prompts and filters: honest traffic that leaves more tokens likely has more of
    them. They raise no alarm. Their e-processes tell how much the traffic differs from the calibration's. The honest
    rates are the upper limits of the policy's own evaluation or, for exact replay, the rates that its check could not
    exclude.

    Attributes:
        policy_digest: digest of the policy with these honest rates.
        conditional: the e-process of the conditional test.
        monitors: e-processes of rates by name of `WATCHED`.
        log_best: the largest ln of the capital after any audit, nats.
    """

    policy_digest: str
    conditional: ConditionalEProcess
    monitors: dict[str, RateEProcess]
    log_best: float

    @classmethod
    def new(cls, policy: BasePolicy, log2_vocabulary: float, longest: float) -> Self:
        """A monitor without audits.

        Args:
            longest: largest weight limit of a record, tokens (`weight_limits`).
        """
        limits = honest_limits(policy)
        most = {name: log2_vocabulary if name == "pooled_bits" else 1.0 for name in WATCHED}
        monitors = {
            name: RateEProcess.new(
                honest_rate=min(limits[name], 0.99 * most[name]),
                weight_limits=_weight_limits(name, limits[name], longest),
                most_per_token=most[name],
            )
            for name in WATCHED
        }
        conditional = ConditionalEProcess.new(
            bets=len(policy.likelihood_ratio_bets), contamination=policy.honest_rates.contamination
        )
        return cls(policy.digest(), conditional, monitors, 0.0)

    def check_made_for(self, policy: BasePolicy) -> None:
        """Check that the series belongs to a policy, with that policy's honest rates.

        Raises:
            StatisticsError: it does not.
        """
        if self.policy_digest != policy.digest():
            raise StatisticsError(f"a series under another policy, {self.policy_digest}")
        contamination = policy.honest_rates.contamination
        if self.conditional.contamination < contamination:
            raise StatisticsError(f"honest records that may hold anything: the policy's share is {contamination:g}")
        if self.conditional.bets != len(policy.likelihood_ratio_bets):
            raise StatisticsError("other bets of the conditional test than the policy's")
        limits = honest_limits(policy)
        for name, monitor in self.monitors.items():
            if monitor.honest_rate > limits[name]:
                raise StatisticsError(f"{name}: an honest rate of {monitor.honest_rate:g}, and the policy's is lower")

    def add(self, columns: dict[str, FloatArray]) -> None:
        """Add an audit's records, in their order.

        Args:
            columns: "tokens" and `WATCHED`, float64 [records], and `LOG_RATIO`, float64 [records, bets].

        Raises:
            StatisticsError: a value out of range.
        """
        tokens_r = columns["tokens"]
        self.conditional.add(columns[LOG_RATIO][tokens_r > 0])
        for name, monitor in self.monitors.items():
            units_r = np.ones_like(tokens_r) if name == "flagged" else tokens_r
            monitor.add(np.minimum(columns[name], monitor.most_per_token * units_r), units_r)
        self.log_best = max(self.log_best, self.log_capital)

    @property
    def log_capital(self) -> float:
        """ln of the capital now, nats."""
        conditional = self.conditional.log_capital + np.log(CONDITIONAL_SHARE)
        return float(np.logaddexp(conditional, self.monitors["flagged"].log_capital + np.log1p(-CONDITIONAL_SHARE)))

    @property
    def p_value(self) -> float:
        """The share of honest series, at most, that ever look so bad (anytime-valid)."""
        return float(np.exp(-self.log_best))

    @property
    def unlike_calibration(self) -> str | None:
        """Name of the rate that differs most from the calibration's traffic; None where none does.

        Series whose rates are at most the honest ones ever have such a rate with probability at most `UNLIKE_LEVEL`.
        """
        rates = {name: rate for name, rate in self.monitors.items() if name != "flagged"}
        name = max(rates, key=lambda one: rates[one].log_best)
        return name if rates[name].p_value * len(rates) <= UNLIKE_LEVEL else None

    def alarms_at(self, alarm_level: float) -> bool:
        """True if the capital has ever reached 1 / `alarm_level`.

        Raises:
            StatisticsError: `alarm_level` is not in (0, 1).
        """
        if not 0 < alarm_level < 1:
            raise StatisticsError(f"a false-alarm probability lies in (0, 1), not {alarm_level}")
        return self.p_value <= alarm_level


def _weight_limits(name: str, honest_rate: float, longest: float) -> tuple[float, ...]:
    """Weight limits of records in a rate, tokens.

    For the rate of records with an outlier, the only one is the length at which an honest record holds one. Shorter
    records weigh by their tokens and hold one event at most, so that a bet on a lone outlier nearly doubles the stake,
    whatever the length of other records.
    """
    if name == "flagged":
        return (1.0,)
    return (max(1.0, 1.0 / honest_rate),) if name == "outlying" else weight_limits(longest)


def honest_limits(policy: BasePolicy) -> dict[str, float]:
    """Upper limits of an honest server, by name of `WATCHED`: per token, or per record for "flagged"."""
    if isinstance(policy, Policy):
        evaluation = policy.evaluation
        return {
            "mismatches": 1 - evaluation.exact_match.low,
            "suspicious": evaluation.suspicious.high,
            "dangerous": evaluation.dangerous.high,
            "pooled_bits": evaluation.pooled_bits_per_token.high,
            "outlying": policy.honest_rates.outlier_rate,
            "flagged": min(policy.honest_rates.flagged, 0.5),
        }
    if not isinstance(policy, ExactPolicy):
        raise StatisticsError(f"no honest rates are known of a policy of format {policy.format}")
    check = policy.check
    # An honest server may take any of the tied or unresolved tokens. Twice their charge leaves room for the shares of
    # the code that are for mismatches and open positions.
    mismatch = check.token_mismatch_upper
    ties = (check.tied_positions + check.unresolved_positions) / check.tokens
    return {
        "mismatches": min(2 * ties + mismatch, 0.5),
        "suspicious": mismatch,
        "dangerous": mismatch,
        "pooled_bits": 2 * (check.charged_bits_per_token.high + mismatch),
        "outlying": mismatch,
        "flagged": min(policy.honest_rates.flagged, 0.5),
    }
