"""Probability that an audit catches an attacker who alters m messages, and its inverses (docs/design.md, section 6).

The auditor replays some messages and raises the alarm when at least `alarm_at` of them are flagged. A message altered
by the attacker is flagged, when audited, with probability `power`; an honest one with `false_positive_rate`. The draw
of the audited messages must be unpredictable to the attacker, and messages must be flagged independently of each other.
Probabilities are exact sums of binomial and hypergeometric laws.
"""

from math import ceil, inf, log, log1p

import numpy as np
from scipy.stats import beta, binom, hypergeom

from weightwarden.verifier.statistics.errors import StatisticsError

MAX_POPULATION = 1_000_000_000
"""Largest number of messages for which the hypergeometric law is computed."""
MAX_MESSAGES = 2**53
"""Largest number of messages; larger ones are not distinguished."""
ROUNDING = 1e-12
"""Relative error that is allowed for when a probability is compared with the requested one."""


def alarm_probability(altered: int, *, audit_rate: float, power: float = 1.0, alarm_at: int = 1) -> float:
    """Probability of the alarm when each message is audited with probability `audit_rate`, independently.

    Args:
        altered: m, messages.
        audit_rate: probability, in (0, 1].
        power: probability, in (0, 1].
        alarm_at: flagged messages, at least 1.

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    _check(audit_rate=audit_rate, power=power)
    _check_counts(altered, alarm_at)
    return float(binom.sf(alarm_at - 1, altered, audit_rate * power))


def log_escape_probability(altered: int, *, audit_rate: float, power: float = 1.0, alarm_at: int = 1) -> float:
    """Natural logarithm of the probability that no alarm comes: ln(1 - `alarm_probability`), without cancellation.

    Larger means that the attacker escapes more often; -inf where the alarm is certain.

    Args:
        altered: altered messages.
        audit_rate: probability that a message is audited, in (0, 1].
        power: probability that an audited altered message is flagged, in (0, 1].
        alarm_at: flagged messages that raise the alarm, at least 1.

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    _check(audit_rate=audit_rate, power=power)
    _check_counts(altered, alarm_at)
    if altered < alarm_at:
        return 0.0
    if audit_rate * power == 1:
        return -inf
    if alarm_at == 1:
        return altered * log1p(-audit_rate * power)
    return float(binom.logcdf(alarm_at - 1, altered, audit_rate * power))


def most_altered(escape_probability: float, *, audit_rate: float, power: float = 1.0, alarm_at: int = 1) -> int:
    """Largest number of altered messages that raise no alarm with at least this probability.

    458 at an escape probability of 1% and an audit rate of 1%; none where every altered message raises the alarm.

    Args:
        escape_probability: in (0, 1).
        audit_rate: as in `log_escape_probability`.
        power: as in `log_escape_probability`.
        alarm_at: as in `log_escape_probability`.

    Raises:
        StatisticsError: an argument is out of its domain, or the messages exceed `MAX_MESSAGES`.
    """
    _check_confidence(escape_probability)
    wanted = log(escape_probability) - ROUNDING

    def escapes(m: int) -> bool:
        return log_escape_probability(m, audit_rate=audit_rate, power=power, alarm_at=alarm_at) >= wanted

    low, high = alarm_at - 1, alarm_at
    while escapes(high):
        low, high = high, high * 2
        if high > MAX_MESSAGES:
            raise StatisticsError("more messages may be altered than can be counted")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if escapes(middle) else (low, middle)
    return low


def alarm_probability_of_sample(
    altered: int, *, messages: int, sample: int, power: float = 1.0, alarm_at: int = 1, replacement: bool = False
) -> float:
    """Probability of the alarm when a fixed number of all messages is audited.

    Args:
        messages: M, number of all messages.
        altered: number of altered ones among them.
        sample: number of audited messages.
        replacement: whether one message may be drawn several times, each of which counts. False for the draw of `verify
            run --audit-rate`.

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    _check(power=power)
    _check_counts(altered, alarm_at)
    if not altered <= messages or messages < 1 or sample < 0 or (sample > messages and not replacement):
        raise StatisticsError(f"{sample} of {messages} messages cannot be audited, {altered} of them altered")
    if replacement:
        return float(binom.sf(alarm_at - 1, sample, altered / messages * power))
    if messages > MAX_POPULATION:  # the hypergeometric law is a binomial one, up to the smaller share of the two
        trials, share = sorted((altered, sample))[0], sorted((altered, sample))[1] / messages
        if trials / messages > 1e-3:
            raise StatisticsError(f"{messages} messages are too many for samples of a fixed size; use an audit rate")
        return float(binom.sf(alarm_at - 1, trials, share * power))
    if power == 1:
        return float(hypergeom.sf(alarm_at - 1, messages, altered, sample))
    drawn = np.arange(alarm_at, min(altered, sample) + 1)
    law = hypergeom.pmf(drawn, messages, altered, sample)
    return float(np.sum(law * binom.sf(alarm_at - 1, drawn, power)))


def altered_before_alarm(confidence: float, *, audit_rate: float, power: float = 1.0, alarm_at: int = 1) -> int:
    """Smallest number of altered messages at which the alarm comes with at least this probability.

    An attacker can alter one message less. 459 at 99%, 1% audited; 12,460 for at least 100 caught.

    Raises:
        StatisticsError: an argument is out of its domain, or the messages exceed `MAX_MESSAGES`.
    """
    _check(audit_rate=audit_rate, power=power)
    _check_confidence(confidence)
    _check_counts(1, alarm_at)

    def caught(m: int) -> bool:
        return bool(binom.sf(alarm_at - 1, m, audit_rate * power) >= confidence)

    high = alarm_at
    while not caught(high):
        high *= 2
        if high > MAX_MESSAGES:
            raise StatisticsError("more messages would have to be altered than can be counted")
    low = max(high // 2, alarm_at - 1)  # not caught at low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high


def audit_rate_needed(confidence: float, altered: int, *, power: float = 1.0, alarm_at: int = 1) -> float:
    """Smallest audit rate at which so many altered messages raise the alarm with this probability.

    Raises:
        StatisticsError: no audit rate suffices.
    """
    _check(power=power)
    _check_confidence(confidence)
    _check_counts(altered, alarm_at)
    if altered < alarm_at:
        raise StatisticsError(f"{altered} altered messages never raise an alarm at {alarm_at}")
    rate = float(beta.ppf(confidence, alarm_at, altered - alarm_at + 1)) / power
    if rate > 1:
        reached = alarm_probability(altered, audit_rate=1.0, power=power, alarm_at=alarm_at)
        raise StatisticsError(
            f"no audit rate is enough: with every message audited, {altered} altered ones raise the alarm with"
            f" probability {reached:.3g}, not {confidence:g}"
        )
    return rate


def sample_needed(
    confidence: float, altered: int, *, messages: int, power: float = 1.0, alarm_at: int = 1, replacement: bool = False
) -> int:
    """Smallest fixed sample at which so many altered messages raise the alarm with this probability.

    Raises:
        StatisticsError: no sample suffices.
    """
    _check(power=power)
    _check_confidence(confidence)

    def caught(sample: int) -> bool:
        found = alarm_probability_of_sample(
            altered, messages=messages, sample=sample, power=power, alarm_at=alarm_at, replacement=replacement
        )
        return found >= confidence

    high = messages
    if replacement:
        while not caught(high) and high < MAX_MESSAGES and altered:
            high *= 2
    if not caught(high):
        raise StatisticsError(f"no sample of {messages} messages catches {altered} altered ones so often")
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high


def alarm_threshold(audited: int, *, false_positive_rate: float, alarm_level: float) -> int:
    """Smallest number of flagged messages with an alarm probability of at most `alarm_level` in an honest run.

    Args:
        audited: number of audited messages of the run.
        false_positive_rate: probability that an honest message is flagged (an upper limit of it).
        alarm_level: probability of a false alarm per run.

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    if not 0 <= false_positive_rate < 1 or not 0 < alarm_level < 1 or audited < 1:
        raise StatisticsError(
            f"no threshold for {audited} messages at false positive rate {false_positive_rate} and false alarm"
            f" probability {alarm_level}"
        )
    return int(binom.isf(alarm_level, audited, false_positive_rate)) + 1


def alarm_probability_with_noise(
    altered: int,
    *,
    messages: int,
    audit_rate: float,
    alarm_at: int,
    power: float = 1.0,
    false_positive_rate: float = 0.0,
) -> float:
    """Probability of the alarm when honest messages are flagged too, and count.

    Honest messages raise the necessary `alarm_at` (`alarm_threshold`), but also help to reach it.

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    _check(audit_rate=audit_rate, power=power)
    _check_counts(altered, alarm_at)
    if altered > messages or not 0 <= false_positive_rate <= 1:
        raise StatisticsError(f"{altered} of {messages} messages, false positive rate {false_positive_rate}")
    caught = np.arange(min(alarm_at - 1, altered) + 1)
    few = binom.pmf(caught, altered, audit_rate * power)
    honest = binom.sf(alarm_at - 1 - caught, messages - altered, audit_rate * false_positive_rate)
    return float(binom.sf(alarm_at - 1, altered, audit_rate * power) + np.sum(few * honest))


def mean_messages_to_alarm(*, audit_rate: float, power: float = 1.0, alarm_at: int = 1) -> float:
    """Expected number of altered messages until the alarm (negative binomial law)."""
    _check(audit_rate=audit_rate, power=power)
    return alarm_at / (audit_rate * power)


def whole(messages: float) -> int:
    """Number of messages, rounded up to a whole number.

    Raises:
        StatisticsError: the number is negative, or exceeds `MAX_MESSAGES`.
    """
    if not 0 <= messages < inf or messages > MAX_MESSAGES:
        raise StatisticsError(f"{messages:g} is no number of messages")
    return ceil(messages)


def _check(**probabilities: float) -> None:
    for name, value in probabilities.items():
        if not 0 < value <= 1:
            raise StatisticsError(f"{name.replace('_', ' ')} lies in (0, 1], not {value}")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise StatisticsError(f"a confidence lies in (0, 1), not {confidence}: nothing sampled is certain")


def _check_counts(altered: int, alarm_at: int) -> None:
    if altered < 0 or alarm_at < 1:
        raise StatisticsError(f"{altered} altered messages and an alarm at {alarm_at} flagged ones cannot be")
