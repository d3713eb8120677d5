"""Gambling past an audit: the attacker's best split between hiding and gambling."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log1p

from scipy.special import gammainccinv

from weightwarden.verifier.statistics.detection import MAX_MESSAGES, most_altered
from weightwarden.verifier.statistics.errors import StatisticsError

MAX_ESCAPE = 0.25
"""Largest escape probability of the attackers for whom the bound holds (Hoeffding's condition)."""


@dataclass(frozen=True)
class Tactic:
    """One use of a message: the bits that it carries, and the probability that it is flagged when audited."""

    name: str
    bits: float
    flag_probability: float


@dataclass(frozen=True, kw_only=True)
class Split:
    """The attacker's best split.

    Attributes:
        hiding: the tactic that is never flagged.
        gambling: the tactic with the largest gain for its risk; None if no tactic gains.
        gambled: largest number of gambling messages.
        hidden_bits: bits that all messages carry by hiding.
        gambled_bits: largest number of bits that gambling adds before the alarm: once, for any duration.
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
    """The most bits that leave before the alarm, for an attacker who escapes it with at least some probability.

    Any attacker who splits the messages over the tactics, and escapes the alarm with probability `escape_probability`
    or more, has at most `bits`. The flagged messages are a sum of independent trials.

    - One gambling tactic: its messages are counted exactly (`detection.most_altered`).
    - An alarm at the first flagged message: the escape probability is the product of 1 - rate * power over the
      messages. Each tactic spends -ln of its factor out of -ln of the escape probability.
    - Otherwise: fewer than `alarm_at` trials succeed at most as likely as for a Poisson number of the same mean
      (Hoeffding 1956). Each tactic spends its part of the mean at which a Poisson number escapes so often.

    In the last two cases the tactic with the most bits for its expense takes everything.

    Args:
        tactics: possible uses of a message.
        messages: number of messages; inf without a limit in time.
        audit_rate: probability that a message is audited, in (0, 1].
        escape_probability: 0.01 for "with 99% confidence less than this".
        alarm_at: flagged messages that raise the alarm.

    Raises:
        StatisticsError: every tactic can be flagged (hiding nothing cannot), or an argument is out of its domain.
    """
    if not 0 < audit_rate <= 1 or not 0 < escape_probability <= MAX_ESCAPE or alarm_at < 1 or not messages >= 0:
        raise StatisticsError(
            f"no split for audit rate {audit_rate}, escape probability {escape_probability} (at most"
            f" {MAX_ESCAPE}), alarm at {alarm_at}"
        )
    safe = [tactic for tactic in tactics if tactic.flag_probability == 0]
    if not safe:
        raise StatisticsError("no tactic that is never flagged: what does an attacker do who does not gamble?")
    hiding = max(safe, key=lambda tactic: tactic.bits)
    hidden = hiding.bits * messages if hiding.bits > 0 else 0.0
    gambles = [tactic for tactic in tactics if tactic.flag_probability > 0 and tactic.bits > hiding.bits]
    if not gambles:
        return Split(hiding=hiding, gambling=None, gambled=0.0, hidden_bits=hidden, gambled_bits=0.0)

    def allowed(tactic: Tactic) -> float:
        return _messages_allowed(
            audit_rate * tactic.flag_probability, escape_probability, alarm_at, alone=len(gambles) == 1
        )

    def paid(tactic: Tactic) -> float:
        return allowed(tactic) * (tactic.bits - hiding.bits)

    best = max(gambles, key=paid)
    # If messages run out, a mixture may gain more than any one tactic: both limits hold for it.
    most = max(tactic.bits - hiding.bits for tactic in gambles) * messages
    return Split(
        hiding=hiding,
        gambling=best,
        gambled=min(allowed(best), messages),
        hidden_bits=hidden,
        gambled_bits=min(paid(best), most),
    )


def _messages_allowed(caught: float, escape_probability: float, alarm_at: int, *, alone: bool) -> float:
    """Messages of one tactic that escape so often, when each is flagged with probability `caught`.

    A whole number when no other tactic is used; otherwise a limit that may be shared between tactics.
    """
    poisson = float(gammainccinv(alarm_at, escape_probability)) / caught
    if alone and poisson < MAX_MESSAGES / 100:
        return most_altered(escape_probability, audit_rate=caught, alarm_at=alarm_at)
    if alarm_at == 1:
        return log(escape_probability) / log1p(-caught) if caught < 1 else 0.0
    return poisson
