"""Plan of an audit for a goal: the audit rate, and the number of flagged messages that raises the alarm."""

from dataclasses import dataclass

from weightwarden.verifier.statistics.detection import (
    alarm_probability_with_noise,
    alarm_threshold,
    audit_rate_needed,
    whole,
)
from weightwarden.verifier.statistics.errors import StatisticsError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A planned audit.

    Attributes:
        altered: altered messages of a day that it catches.
        audit_rate: share of the messages to audit.
        alarm_at: flagged messages a day that raise the alarm.
    """

    altered: int
    audit_rate: float
    alarm_at: int


def plan(
    altered: int,
    *,
    messages_per_day: float,
    confidence: float,
    power: float = 1.0,
    false_positive_rate: float = 0.0,
    alarm_level: float = 1e-4,
) -> Plan:
    """The smallest audit rate (to a thousandth of itself) that catches `altered` messages of a day.

    The alarm's threshold rises with the number of audited messages, since honest ones are flagged too.

    Args:
        false_positive_rate: probability that an honest message is flagged.
        alarm_level: probability of a false alarm a day.

    Raises:
        StatisticsError: no audit rate suffices.
    """
    messages = whole(messages_per_day)
    if altered > messages:
        raise StatisticsError(
            f"{altered} altered messages are {altered / messages_per_day:.3g} days of traffic, all of it altered; a"
            " plan is for a day"
        )
    if not false_positive_rate:
        return Plan(altered=altered, audit_rate=audit_rate_needed(confidence, altered, power=power), alarm_at=1)

    def threshold(rate: float) -> int:
        return alarm_threshold(messages, false_positive_rate=rate * false_positive_rate, alarm_level=alarm_level)

    def caught(rate: float) -> bool:
        found = alarm_probability_with_noise(
            altered,
            messages=messages,
            audit_rate=rate,
            alarm_at=threshold(rate),
            power=power,
            false_positive_rate=false_positive_rate,
        )
        return found >= confidence

    if not caught(1.0):
        raise StatisticsError(
            f"no audit rate is enough: with every message audited, honest ones are flagged so often that {altered}"
            f" altered ones of {messages} do not stand out"
        )
    low, high = audit_rate_needed(confidence, altered, power=power) / 2, 1.0
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if caught(middle) else (middle, high)
    return Plan(altered=altered, audit_rate=high, alarm_at=threshold(high))
