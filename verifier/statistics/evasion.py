"""What an attacker gets past an audit by gambling: the best split between hiding and not being sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from scipy.special import gammainccinv

from verifier.statistics.errors import StatisticsError

LARGEST_ESCAPE = 0.25
"""The bound holds for attackers who want to get away with at most this probability (Hoeffding's condition)."""


@dataclass(frozen=True)
class Tactic:
    """One way to use a message: bits that it carries, and the probability that it is flagged when audited."""

    name: str
    bits: float
    flag_probability: float


@dataclass(frozen=True, kw_only=True)
class Split:
    """The attacker's best split.

    Attributes:
        hiding: the tactic that is never flagged. gambling: the one that pays best for its risk; None if none pays.
        gambled: messages that gamble, at most. hidden_bits: what all messages carry by hiding.
        gambled_bits: what gambling adds, at most, before the alarm: once, however long it takes.
    """

    hiding: Tactic
    gambling: Tactic | None
    gambled: float
    hidden_bits: float
    gambled_bits: float

    @property
    def bits(self) -> float:
        return self.hidden_bits + self.gambled_bits


def best_split(
    tactics: Sequence[Tactic], *, messages: float, audit_rate: float, escape_probability: float, alarm_at: int = 1
) -> Split:
    """The most bits that go out before the alarm, for an attacker who gets away with at least some probability.

    Any attacker whose split of the messages over the tactics escapes the alarm with probability `escape_probability` or
    more has at most `bits`. Caught messages are then a sum of independent trials; that fewer than `alarm_at` of them
    are caught is no likelier than for a Poisson number of the same mean (Hoeffding 1956), so the mean is at most that
    at which a Poisson number escapes so often; every tactic pays its bits for its part of the mean, and the best payer
    takes it all.

    Args:
        messages: how many there are; inf when there is always another day.
        escape_probability: 0.01 for "with 99% confidence less than this".

    Raises:
        StatisticsError: no tactic that is never flagged (hiding nothing is one), or an argument out of its domain.
    """
    if not 0 < audit_rate <= 1 or not 0 < escape_probability <= LARGEST_ESCAPE or alarm_at < 1 or not messages >= 0:
        raise StatisticsError(
            f"no split for audit rate {audit_rate}, escape probability {escape_probability} (at most"
            f" {LARGEST_ESCAPE}), alarm at {alarm_at}"
        )
    safe = [tactic for tactic in tactics if tactic.flag_probability == 0]
    if not safe:
        raise StatisticsError("no tactic that is never flagged: what does an attacker do who does not gamble?")
    hiding = max(safe, key=lambda tactic: tactic.bits)
    risk = float(gammainccinv(alarm_at, escape_probability))  # messages caught, on average

    def paid(tactic: Tactic) -> float:
        most = min(risk / (audit_rate * tactic.flag_probability), messages)
        return most * max(tactic.bits - hiding.bits, 0.0)

    hidden = hiding.bits * messages if hiding.bits > 0 else 0.0
    gambles = [tactic for tactic in tactics if tactic.flag_probability > 0 and tactic.bits > hiding.bits]
    if not gambles:
        return Split(hiding=hiding, gambling=None, gambled=0.0, hidden_bits=hidden, gambled_bits=0.0)
    if messages < inf:  # where messages run out, a mixture may pay more than any one: bound the two apart
        pay = max((t.bits - hiding.bits) / (audit_rate * t.flag_probability) for t in gambles) * risk
        most = max(t.bits - hiding.bits for t in gambles) * messages
        gambled_bits = min(pay, most)
    else:
        gambled_bits = max(paid(tactic) for tactic in gambles)
    best = max(gambles, key=paid)
    return Split(
        hiding=hiding,
        gambling=best,
        gambled=min(risk / (audit_rate * best.flag_probability), messages),
        hidden_bits=hidden,
        gambled_bits=gambled_bits,
    )
