"""Effect sizes of deviating servers, and the audited tokens that an alarm needs by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log

from weightwarden.verifier.statistics.alarm_time import records_to_cross
from weightwarden.verifier.statistics.errors import StatisticsError


@dataclass(frozen=True, kw_only=True)
class BetGrowth:
    """Growth of one bet's capital under a deviating server.

    Attributes:
        bet: name of the bet.
        log_share: ln of the bet's share of the monitor's first capital, nats, at most 0.
        nats_per_record: mean of the ln of a record's factor.
        variance_per_record: variance of the same, squared nats.
    """

    bet: str
    log_share: float
    nats_per_record: float
    variance_per_record: float

    def records_to_alarm(self, alarm_level: float, power: float) -> float:
        """Records until this bet alone makes the monitor alarm with probability `power`; inf where it never does."""
        return records_to_cross(
            power,
            threshold=log(1 / alarm_level) - self.log_share,
            drift=self.nats_per_record,
            variance=self.variance_per_record,
        )


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """The measured effect of one deviation.

    Attributes:
        deviation: kind of deviation.
        rate: its size, in the unit of the kind; None for a kind without one.
        tokens: audited tokens measured.
        records: their records.
        nats_per_token: mean of the ln likelihood ratio against the honest law, if the deviation is known: the
            Kullback-Leibler divergence, over the classes of tokens that scoring distinguishes.
        growths: bets of the monitor that grow.
    """

    deviation: str
    rate: float | None
    tokens: int
    records: int
    nats_per_token: float
    growths: Sequence[BetGrowth]

    @property
    def name(self) -> str:
        """Kind and size of the deviation."""
        return self.deviation if self.rate is None else f"{self.deviation}:{self.rate:g}"

    def tokens_to_alarm(self, alarm_level: float, power: float) -> float:
        """Audited tokens until the monitor's alarm with probability `power`, in whole records; inf for never.

        The sum of all bets is no less than any of them, so that the fastest decides.
        """
        records = min((growth.records_to_alarm(alarm_level, power) for growth in self.growths), default=inf)
        return records * self.tokens / self.records

    def optimum_tokens(self, alarm_level: float) -> float:
        """Tokens after which a likelihood ratio of the known deviation reaches 1 / `alarm_level` on average."""
        return log(1 / alarm_level) / self.nats_per_token if self.nats_per_token > 0 else inf


@dataclass(frozen=True, kw_only=True)
class VerdictPrice:
    """The audited tokens that a verdict on a deviation costs.

    Attributes:
        tokens: audited tokens until the alarm with the power asked for.
        optimum_tokens: tokens on average with a likelihood ratio of the known deviation.
        between: rates of the two measured effect sizes between which the figures lie; equal where one is exact.
    """

    tokens: float
    optimum_tokens: float
    between: tuple[float | None, float | None]


def verdict_price(
    sizes: Sequence[EffectSize], deviation: str, rate: float | None, *, alarm_level: float, power: float
) -> VerdictPrice:
    """The price of a verdict on a deviation.

    Between two measured rates the logarithms of the figures are linear in the rate's logarithm.

    Args:
        sizes: measured effect sizes.
        rate: size of the deviation; None for the only one, or the largest, that was measured.

    Raises:
        StatisticsError: the deviation was not measured, or the rate is outside of the measured ones.
    """
    of_kind = sorted((size for size in sizes if size.deviation == deviation), key=lambda size: size.rate or 0.0)
    if not of_kind:
        known = ", ".join(dict.fromkeys(size.deviation for size in sizes))
        raise StatisticsError(f"{deviation!r} was not measured; known: {known}")
    rates = [size.rate for size in of_kind if size.rate is not None]
    if rate is not None and not rates:
        raise StatisticsError(f"{deviation} has no rate")
    if rate is not None and not rates[0] <= rate <= rates[-1]:
        raise StatisticsError(f"{deviation}:{rate:g}: measured from {rates[0]:g} to {rates[-1]:g}")
    wanted = of_kind[-1].rate if rate is None else rate
    low = max((size for size in of_kind if (size.rate or 0) <= (wanted or 0)), key=lambda size: size.rate or 0)
    high = min((size for size in of_kind if (size.rate or 0) >= (wanted or 0)), key=lambda size: size.rate or 0)
    share = 0.0
    if low.rate is not None and high.rate is not None and wanted is not None and low.rate < high.rate:
        share = (log(wanted) - log(low.rate)) / (log(high.rate) - log(low.rate))

    def between(first: float, second: float) -> float:
        if share == 0 or inf in (first, second):
            return first if share == 0 else max(first, second)
        return exp((1 - share) * log(first) + share * log(second))

    return VerdictPrice(
        tokens=between(low.tokens_to_alarm(alarm_level, power), high.tokens_to_alarm(alarm_level, power)),
        optimum_tokens=between(low.optimum_tokens(alarm_level), high.optimum_tokens(alarm_level)),
        between=(low.rate, high.rate),
    )
