"""Plan of an audit for a goal: the audit rate, and the number of flagged messages that raises the alarm."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

from scipy.stats import poisson

from weightwarden.verifier.statistics.detection import (
    alarm_probability_with_noise,
    alarm_threshold,
    audit_rate_needed,
    whole,
)
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.gamble import whole_answer_gamble
from weightwarden.verifier.statistics.sampling_design import END_TOKENS, UNIT_TOKENS, AuditBy, SamplingDesign


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A planned audit.

    Attributes:
        altered: altered messages of a day that it catches.
        audit_rate: share of the messages to audit; by tokens, of those of 1,016 tokens.
        by: "records" or "tokens", what the rate is a share of.
        alarm_at: flagged messages a day that raise the alarm.
    """

    altered: int
    audit_rate: float
    alarm_at: int
    by: AuditBy = "records"


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
    rate = _smallest_rate(caught, audit_rate_needed(confidence, altered, power=power) / 2)
    return Plan(altered=altered, audit_rate=rate, alarm_at=threshold(rate))


def plan_by_tokens(
    altered: int,
    *,
    length_limit: int,
    messages_per_day: float,
    tokens_per_message: float,
    confidence: float,
    power: float = 1.0,
    false_positive_rate: float = 0.0,
    alarm_level: float = 1e-4,
) -> Plan:
    """The smallest rate by tokens (to a thousandth of itself) that catches the tokens of `altered` longest messages.

    The attacker may alter messages of any lengths up to the limit that have as many tokens together.

    - Without honest flagged messages the most tokens that escape are those of the best gamble
      (`statistics.gamble.whole_answer_gamble`).
    - With them the flagged messages are a sum of independent trials, which stays below the alarm at most as likely as a
      Poisson number of the same mean (Hoeffding 1956). The mean is least for the longest altered messages.

    Args:
        altered: number of messages of `length_limit` tokens.
        length_limit: largest number of output tokens of a message.
        tokens_per_message: mean output tokens of a message.
        false_positive_rate: probability that an honest message is flagged.
        alarm_level: probability of a false alarm a day.

    Raises:
        StatisticsError: no audit rate suffices.
    """
    messages, tokens = whole(messages_per_day), altered * length_limit
    if tokens > messages_per_day * tokens_per_message:
        raise StatisticsError(
            f"{tokens} altered tokens are {tokens / (messages_per_day * tokens_per_message):.3g} days of traffic, all"
            " of it altered; a plan is for a day"
        )

    def drawn(rate: float) -> tuple[float, float]:
        """Limits of the share of honest messages that are audited: with p = 1 below the length limit, and without."""
        most = rate * (tokens_per_message + END_TOKENS) / UNIT_TOKENS
        unlimited = rate * (length_limit + END_TOKENS) / UNIT_TOKENS
        return most / max(unlimited, 1.0), min(most, 1.0)

    def threshold(rate: float) -> int:
        if not false_positive_rate:
            return 1
        return alarm_threshold(
            messages, false_positive_rate=drawn(rate)[1] * false_positive_rate, alarm_level=alarm_level
        )

    def caught(rate: float) -> bool:
        design = SamplingDesign(rate, "tokens")
        if not false_positive_rate:
            escaping = whole_answer_gamble(
                design, bits_per_token=1.0, length_limit=length_limit, power=power, escape_probability=1 - confidence
            )
            return escaping.gambled_bits <= tokens
        flagged = altered * design.probability(length_limit) * power
        honest = (messages - altered) * drawn(rate)[0] * false_positive_rate
        return bool(poisson.sf(threshold(rate) - 1, flagged + honest) >= confidence)

    if not caught(1.0):
        raise StatisticsError(
            f"no audit rate by tokens is enough: {altered} messages of {length_limit} tokens, or as many tokens in"
            " shorter ones, escape too often; audit by records"
        )
    rate = _smallest_rate(caught, log(1 / (1 - confidence)) / (tokens + END_TOKENS) / 2)
    return Plan(altered=altered, audit_rate=rate, alarm_at=threshold(rate), by="tokens")


def _smallest_rate(caught: Callable[[float], bool], low: float) -> float:
    """The smallest rate that catches, to a thousandth of itself, between one that does not and 1."""
    high = 1.0
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high
