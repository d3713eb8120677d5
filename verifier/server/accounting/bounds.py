"""Bandwidth bounds of a series by channel, from its accounts."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from weightwarden.verifier.scoring.ledger import CODED_BITS
from weightwarden.verifier.server.accounting.accounts import CONFIDENCE, Accounts
from weightwarden.verifier.server.accounting.traffic_estimate import TrafficSeen
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.statistics.conclusiveness import CONCLUSIVE_SHARE, Conclusiveness
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.exfiltration import (
    AuditAssumptions,
    Estimate,
    Leak,
    TimingChannel,
    Weights,
    estimate,
)
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class TokenBound:
    """Bits a token that tokens could carry unseen: of the audited ones, and at most of all."""

    name: str
    audited: float
    limit: float


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The bandwidth ledger.

    Attributes:
        leading: the bound that counts, on which the estimate is based (`BasePolicy.leading_code`); None without
            audited tokens.
        conclusiveness: whether it limits what the answers could carry, and what the audit needs if not.
        estimate: time to exfiltrate; None while too little is known of the traffic.
    """

    bounds: list[TokenBound]
    leading: TokenBound | None
    conclusiveness: Conclusiveness
    entropy_bits_per_token: float | None
    estimate: Estimate | None
    assumptions: list[str]


def exposure_of(
    accounts: Accounts, traffic: TrafficSeen, settings: Settings, vocabulary: int, length_limit: int, *, exact: bool
) -> Exposure:
    """The ledger. Each limit is that of a confidence sequence, so that frequent inspection costs nothing.

    Args:
        length_limit: largest number of tokens of an answer.
    """
    totals, most = accounts.totals, float(np.log2(vocabulary))
    if not totals["tokens"] or not traffic.records:
        nothing = Conclusiveness(limit=None, most=most, tokens_needed=_tokens_needed(accounts, most, exact=exact))
        return Exposure(
            bounds=[],
            leading=None,
            conclusiveness=nothing,
            entropy_bits_per_token=None,
            estimate=None,
            assumptions=[],
        )
    per_message = max(traffic.tokens / traffic.records, 1.0)
    a_record = CODED_BITS / per_message  # the cost of the information that a record's tokens are coded
    limits = _limits(accounts)
    counted = traffic.weight / traffic.tokens if traffic.tokens else 1.0

    def of_all(limit: float) -> float:
        """A limit per token from a limit per weight: tokens beyond the longest record that counts may be anything."""
        return min(limit, most) * counted + most * (1 - counted)

    bounds = [
        TokenBound(
            name="counting bound",
            audited=totals["counting_bits"] / totals["tokens"],
            limit=of_all(limits("counting_bits").high),
        ),
        TokenBound(
            name="pooled bound",
            audited=totals["pooled_bits"] / totals["tokens"] + a_record,
            limit=of_all(limits("pooled_bits").high + a_record),
        ),
    ]
    leading = bounds[0] if exact else bounds[1]
    limit = leading.limit
    rate = traffic.least_rate or traffic.rate or settings.least_rate
    per_day = settings.tokens_per_day or traffic.tokens_per_day
    found = None
    if per_day:
        leak = Leak(
            bits_per_token=limit,
            contains_gamble=True,  # the limits are of all records, audited or not
            early_stop_share=limits("early_stops").high,
            length_limit=max(length_limit, int(np.ceil(per_message))),
            refusal_share=limits("refusals").high,
            timing=TimingChannel(tokens_per_tick=settings.tokens_per_tick),
            log2_vocabulary=most,
        )
        found = estimate(
            Traffic(output_tokens_per_day=per_day, tokens_per_message=per_message),
            leak,
            AuditAssumptions(rate=rate),
            Weights(size_bytes=settings.weights_bytes, compression=settings.compression),
        )
    return Exposure(
        bounds=bounds,
        leading=leading,
        conclusiveness=Conclusiveness(
            limit=limit, most=most, tokens_needed=_tokens_needed(accounts, most, counted, a_record, exact=exact)
        ),
        entropy_bits_per_token=None if exact else totals["entropy_bits"] / totals["tokens"],
        estimate=found,
        assumptions=_assumptions(settings, rate, per_day),
    )


def _tokens_needed(
    accounts: Accounts, most: float, counted: float = 1.0, a_record: float = 0.0, *, exact: bool
) -> float:
    """Further audited tokens until the leading bound is conclusive, about; inf if no number suffices.

    Args:
        counted: share of the tokens that count in rates; the others may be anything.
        a_record: bits per token that the pooled bound adds.
    """
    wanted = CONCLUSIVE_SHARE * most
    if counted <= 0 or (wanted := (wanted - most * (1 - counted)) / counted) <= 0:
        return inf
    if exact:
        return accounts.sequences["counting_bits"].tokens_until(wanted)
    return inf if wanted <= a_record else accounts.sequences["pooled_bits"].tokens_until(wanted - a_record)


def _limits(accounts: Accounts) -> Callable[[str], Interval]:
    """The limits of a sequence; without any record the trivial limits."""

    def limits(name: str) -> Interval:
        sequence = accounts.sequences[name]
        try:
            return sequence.limits()
        except StatisticsError:
            return Interval(0.0, 0.0, sequence.most_per_token)

    return limits


def _assumptions(settings: Settings, rate: float, per_day: float | None) -> list[str]:
    measured = "as given" if settings.tokens_per_day else "measured over the last days"
    said = [
        f"Every limit holds at all times at once with {100 * CONFIDENCE:g}% confidence, if the audited records are a"
        " random stream of one source; a record weighs as its tokens, up to"
        f" {settings.max_record_weight}, and what is beyond that may be anything.",
        "Bounds count every message that these prompts and seeds allow, along the tokens that were sent.",
        "Traffic: "
        + (
            "not known yet (archives were followed for less than an hour)"
            if not per_day
            else f"{per_day:.4g} output tokens a day, {measured}"
        )
        + ".",
        f"Weights: {settings.weights_bytes:.3g} bytes, made smaller by a factor of {settings.compression:g} first.",
        f"Gambling: at audit rate {rate:.3g}, the least of the last days, a wholly altered answer is flagged when it"
        " is audited.",
    ]
    if settings.tokens_per_tick is None:
        said.append("Timing is open: nothing is known of ticks, and it is not in the sum.")
    return said
