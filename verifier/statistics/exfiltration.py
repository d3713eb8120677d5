"""Time to exfiltrate the weights through all channels, and time to detect it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, log2
from typing import Any

from weightwarden.logger.release import SLOTS
from weightwarden.logger.release import Pace as ReleasePace
from weightwarden.verifier.statistics.bandwidth import binary_entropy, geometric_entropy
from weightwarden.verifier.statistics.detection import (
    MAX_MESSAGES,
    altered_before_alarm,
    log_escape_probability,
    mean_messages_to_alarm,
    whole,
)
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.evasion import Split
from weightwarden.verifier.statistics.gamble import gambled_tokens, whole_answer_gamble
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign
from weightwarden.verifier.statistics.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights to be stolen: their size in bytes, and the factor by which the attacker compresses them first."""

    size_bytes: float
    compression: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.size_bytes < inf and 1 <= self.compression < inf):
            raise StatisticsError(f"weights have a size, and compression makes them smaller, not {self}")

    @property
    def bits(self) -> float:
        """Size of the compressed weights, bits."""
        return 8 * self.size_bytes / self.compression


DAY_SECONDS = 86_400.0
READINESS_SECONDS = 10.0
"""Default seconds between two checks of the inference server by a sidecar."""


@dataclass(frozen=True, kw_only=True)
class TimingChannel:
    """The timing of tokens as a channel.

    Attributes:
        charged: bits a token that the code of releases charges (`verifier.scoring.release_code`), or is expected to
            charge; None where answers do not leave at a pace.
        tokens_per_tick: mean tokens of a stream on a tick; None where there are no ticks.
        gap: mean time between tokens without ticks, in any unit.
        resolution: smallest time difference that an observer can measure, in the same unit.
    """

    charged: float | None = None
    tokens_per_tick: float | None = None
    gap: float = 20.0
    resolution: float = 1.0

    @property
    def open(self) -> bool:
        """True if only the observer's clock limits the channel."""
        return self.charged is None and self.tokens_per_tick is None

    @property
    def bits_per_token(self) -> float:
        """The charge; or the largest information in the number of tokens on a tick, or of clock steps between tokens
        (maximum entropy).
        """
        if self.charged is not None:
            return self.charged
        if self.tokens_per_tick is None:
            return geometric_entropy(self.gap / self.resolution)
        return geometric_entropy(self.tokens_per_tick) / self.tokens_per_tick

    @classmethod
    def paced(cls, pace: ReleasePace, tokens_per_message: float, underrun_share: float) -> "TimingChannel":
        """The channel of streamed answers that leave at a pace, with a share of the ticks that find too few tokens.

        An answer has one of `SLOTS` start slots, or none. The number of underruns before each further group has at most
        the entropy of a count with their mean. Beside the full groups after the first token, an answer may have a
        smaller last group and, if it is cut off, an end that is a group of its own: each answer is charged for both.

        Raises:
            StatisticsError: the share is not at least 0 and below 1.
        """
        if not 0 <= underrun_share < 1:
            raise StatisticsError(f"underruns are a share of the ticks from 0 to below 1, not {underrun_share}")
        groups = (tokens_per_message - 1) / pace.tokens + 2
        bits = log2(SLOTS + 1) + groups * geometric_entropy(underrun_share / (1 - underrun_share))
        return cls(charged=bits / tokens_per_message)


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Known or assumed limits of each channel of docs/design.md, section 2.

    Attributes:
        bits_per_token: bound of the bits that tokens carry unseen (`verifier.statistics.bandwidth`).
        stock_bits: bits that tokens carry once, beside that bound, where the bound is of all messages, audited or not:
            what gambling gains is among them. None for a bound that says nothing of unaudited messages.
        early_stop_share: share of answers that may end early without an alarm.
        length_limit: largest number of tokens of an answer.
        refusal_share: share of requests that may be refused or fail without an alarm.
        log2_vocabulary: bits of a token that is chosen freely.
        readiness_per_day: checks of the readiness by all sidecars a day, whose results an outsider can read, one bit
            each.
    """

    bits_per_token: float
    stock_bits: float | None = None
    early_stop_share: float
    length_limit: int
    refusal_share: float
    timing: TimingChannel
    log2_vocabulary: float
    readiness_per_day: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AuditAssumptions:
    """Parameters of the audit: its sampling design, and the others as in `verifier.statistics.detection`."""

    rate: float
    by: AuditBy = "records"
    power: float = 1.0
    alarm_at: int = 1
    confidence: float = 0.99

    @property
    def design(self) -> SamplingDesign:
        """The sampling design."""
        return SamplingDesign(self.rate, self.by)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One channel: its bits a day, and whether they are in the sum."""

    name: str
    bits_per_day: float
    counted: bool = True


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Yield of altering a share of all messages, and time until its detection.

    Altered answers are as long as the length limit, as far as the traffic has tokens for it: the attacker chooses the
    prompts. Days are inf for never.

    Attributes:
        share: share of all messages that is altered.
        bits_per_day: bits that these carry.
        days_to_exfiltrate: days until they have carried the weights.
        mean_days_to_alarm: expected days until the alarm, not counting the delay of the audit.
        days_to_alarm: days by which the alarm has come with the audit's confidence, not counting that delay.
        log10_escape_probability: log10 of the probability that no alarm has come when the weights are out.
    """

    share: float
    bits_per_day: float
    days_to_exfiltrate: float
    mean_days_to_alarm: float
    days_to_alarm: float
    log10_escape_probability: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The estimate of all channels together.

    Attributes:
        terms: every channel.
        bits_per_day: the sum of the channels that are counted, of all sites, now.
        gamble: bits that gambling on not being sampled can gain once.
        gambled_tokens: tokens of each answer of the gamble; by tokens, those that pay best for their risk.
        bits_per_token: that sum by the output tokens of a day, bits a token.
        days_to_exfiltrate: days until the counted channels have carried the weights less the stock or the gamble, with
            growth. Never fewer days than all tokens need.
        gamble_suffices: whether the stock or the gamble alone carries the weights.
        dominant: the largest counted channel.
        paces: gambling at several shares of the traffic.
    """

    terms: list[Term]
    bits_per_day: float
    bits_per_token: float
    gamble: Split
    gambled_tokens: int
    days_to_exfiltrate: float
    gamble_suffices: bool
    dominant: str
    paces: list[Pace]


SHARES = (1e-6, 1e-4, 1e-2, 1.0)


def estimate(
    traffic: Traffic, leak: Leak, audit: AuditAssumptions, weights: Weights, shares: Sequence[float] = SHARES
) -> Estimate:
    """Combine the channels.

    1. Sum the bits a day of each channel while the attacker stays under every threshold.
    2. Compute the bits that gambling gains once.
    3. Compute the days until the weights are out.
    4. Compute the yield of altering whole messages at several paces, and the time until its detection.

    Raises:
        StatisticsError: an argument is out of its domain.
    """
    if leak.bits_per_token > leak.log2_vocabulary:
        raise StatisticsError(f"{leak.bits_per_token:g} bits a token are more than log2 of the vocabulary")
    if traffic.tokens_per_message > leak.length_limit:
        raise StatisticsError(f"{traffic.tokens_per_message:g} tokens a message are more than {leak.length_limit}")

    # 1
    messages, tokens = traffic.messages_per_day, traffic.output_tokens_per_day
    terms = [
        Term(name="tokens under the threshold", bits_per_day=leak.bits_per_token * tokens),
        Term(name="early stops", bits_per_day=_event_bits(leak.early_stop_share, leak.length_limit) * messages),
        Term(name="refusals", bits_per_day=_event_bits(leak.refusal_share, 1) * messages),
        Term(name="timing", bits_per_day=leak.timing.bits_per_token * tokens, counted=not leak.timing.open),
        Term(name="readiness", bits_per_day=leak.readiness_per_day),
    ]
    counted = [term for term in terms if term.counted]
    bits_per_day = sum(term.bits_per_day for term in counted)

    # 2
    gamble = whole_answer_gamble(
        audit.design,
        bits_per_token=leak.log2_vocabulary,
        length_limit=leak.length_limit,
        power=audit.power,
        escape_probability=1 - audit.confidence,
        alarm_at=audit.alarm_at,
    )

    # 3, 4
    left = max(weights.bits - (gamble.gambled_bits if leak.stock_bits is None else leak.stock_bits), 0.0)
    return Estimate(
        terms=terms,
        bits_per_day=bits_per_day,
        bits_per_token=bits_per_day / tokens,
        gamble=gamble,
        gambled_tokens=gambled_tokens(gamble, leak.log2_vocabulary),
        days_to_exfiltrate=max(
            days_until(left, bits_per_day, traffic.doubling_days),
            days_until(weights.bits, leak.log2_vocabulary * tokens, traffic.doubling_days),  # every token chosen freely
        ),
        gamble_suffices=left == 0,
        dominant=max(counted, key=lambda term: term.bits_per_day).name,
        paces=[_pace(share, traffic, leak, audit, weights) for share in shares],
    )


def days_until(amount: float, per_day: float, doubling_days: float | None = None) -> float:
    """Days until an amount is reached at a rate that doubles every `doubling_days`; inf at a rate of 0.

    With growth: the integral of per_day 2^(t / doubling) up to D is per_day doubling / ln 2 (2^(D / doubling) - 1).
    """
    if amount <= 0:
        return 0.0
    if per_day <= 0 or amount == inf:
        return inf
    if doubling_days is None:
        return amount / per_day
    return doubling_days * log2(1 + amount * log(2) / (per_day * doubling_days))


def _event_bits(share: float, places: int) -> float:
    """Bits a message of an event that happens to a share of messages, in one of `places` places."""
    if not 0 <= share <= 1 or places < 1:
        raise StatisticsError(f"an event has a share of the messages and a place, not {share} and {places}")
    return binary_entropy(min(share, 0.5)) + share * log2(places)


def _pace(share: float, traffic: Traffic, leak: Leak, audit: AuditAssumptions, weights: Weights) -> Pace:
    altered_per_day = share * traffic.messages_per_day
    tokens = min(leak.length_limit, traffic.tokens_per_message / share)  # of an altered message
    bits = leak.log2_vocabulary * tokens
    needed = weights.bits / bits  # messages
    audited = audit.design.probability(tokens)
    options: dict[str, Any] = {"audit_rate": audited, "power": audit.power, "alarm_at": audit.alarm_at}
    mean = mean_messages_to_alarm(**options)
    # Beyond the countable messages the laws are at their limits: always escaped, or never.
    countable = mean < MAX_MESSAGES / 100
    return Pace(
        share=share,
        bits_per_day=altered_per_day * bits,
        days_to_exfiltrate=days_until(needed, altered_per_day, traffic.doubling_days),
        mean_days_to_alarm=days_until(mean, altered_per_day, traffic.doubling_days),
        days_to_alarm=days_until(
            altered_before_alarm(audit.confidence, **options) if countable else inf,
            altered_per_day,
            traffic.doubling_days,
        ),
        log10_escape_probability=log_escape_probability(whole(min(needed, MAX_MESSAGES)), **options) / log(10),
    )
