"""Bandwidth bounds of a series by channel, from its accounts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.server.accounting.accounts import CONFIDENCE, Accounts
from weightwarden.verifier.server.accounting.traffic_estimate import TrafficSeen
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.statistics.conclusiveness import CONCLUSIVE_SHARE, Conclusiveness
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.exfiltration import (
    DAY_SECONDS,
    READINESS_SECONDS,
    AuditAssumptions,
    Estimate,
    Leak,
    Weights,
    estimate,
)
from weightwarden.verifier.statistics.gamble import whole_answer_gamble
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.sampling_design import UNIT_TOKENS, SamplingDesign
from weightwarden.verifier.statistics.traffic import Traffic
from weightwarden.verifier.verification.series_limit import CODES
from weightwarden.verifier.verification.series_statement import LimitParts, series_assumptions, series_statement
from weightwarden.verifier.verification.series_timing import SeriesTiming


@dataclass(frozen=True, kw_only=True)
class TokenBound:
    """The limit of the series under a code, with the name of its bound."""

    name: str
    parts: LimitParts


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The bandwidth ledger.

    Attributes:
        bounds: the bounds, the leading one first; empty before the first archive is audited.
        statement: the leading bound in a sentence.
        timing: timing of all answers of the checked archives.
        conclusiveness: whether the leading bound limits what the answers could carry, and what the audit needs if not.
        estimate: time to exfiltrate; None while too little is known of the traffic.
    """

    bounds: list[TokenBound]
    statement: str | None
    timing: SeriesTiming
    conclusiveness: Conclusiveness
    entropy_bits_per_token: float | None
    estimate: Estimate | None
    assumptions: list[str]

    @property
    def leading(self) -> TokenBound | None:
        """The bound on which the verdict and the estimate are based."""
        return next(iter(self.bounds), None)


def exposure_of(
    accounts: Accounts,
    traffic: TrafficSeen,
    settings: Settings,
    vocabulary: int,
    length_limit: int,
    *,
    leading: CodeName,
    exact: bool,
) -> Exposure:
    """The ledger. Its limits hold at every moment of the series, so that frequent inspection costs nothing.

    Args:
        length_limit: largest number of tokens of an answer.
        leading: the code whose bound counts.
        exact: whether the policy is that of an exact replay.
    """
    totals, most, series = accounts.totals, float(np.log2(vocabulary)), accounts.limit
    codes = sorted(CODES, key=lambda code: code != leading)
    bounds = [
        TokenBound(name=f"{code} bound", parts=parts)
        for code in codes
        if (parts := LimitParts.of(series, code, CONFIDENCE)) is not None
    ]
    needed = series.tokens_until(
        leading, CONCLUSIVE_SHARE * most, CONFIDENCE, settings.least_design.probability(UNIT_TOKENS)
    )
    if not bounds or not traffic.records:
        nothing = Conclusiveness(limit=None, most=most, tokens_needed=needed)
        return Exposure(
            bounds=[],
            statement=None,
            timing=traffic.timing,
            conclusiveness=nothing,
            entropy_bits_per_token=None,
            estimate=None,
            assumptions=[],
        )
    per_message = max(traffic.tokens / traffic.records, 1.0)
    limits = _limits(accounts)
    per_day = settings.tokens_per_day or traffic.tokens_per_day
    found, longest = None, max(length_limit, int(np.ceil(per_message)))
    design = _design_of_gamble(traffic.least_designs or (traffic.design or settings.least_design,), longest)
    if per_day:
        leak = Leak(
            bits_per_token=min(bounds[0].parts.rate, most),
            stock_bits=bounds[0].parts.stock_bits,
            early_stop_share=limits("early_stops").high,
            length_limit=longest,
            refusal_share=limits("refusals").high,
            timing=traffic.recent_timing.channel(settings.tokens_per_tick),
            log2_vocabulary=most,
            readiness_per_day=DAY_SECONDS / READINESS_SECONDS,
        )
        found = estimate(
            Traffic(output_tokens_per_day=per_day, tokens_per_message=per_message),
            leak,
            AuditAssumptions(rate=design.rate, by=design.by),
            Weights(size_bytes=settings.weights_bytes, compression=settings.compression),
        )
    return Exposure(
        bounds=bounds,
        statement=statement_of(accounts, leading),
        timing=traffic.timing,
        conclusiveness=Conclusiveness(limit=bounds[0].parts.limit, most=most, tokens_needed=needed),
        entropy_bits_per_token=None if exact or not totals["tokens"] else totals["entropy_bits"] / totals["tokens"],
        estimate=found,
        assumptions=_assumptions(settings, design, per_day, traffic.recent_timing),
    )


def statement_of(accounts: Accounts, code: CodeName) -> str | None:
    """The limit of the series under a code in a sentence; None before the first archive is audited."""
    began = datetime.fromtimestamp(accounts.limit_since, UTC)
    return series_statement(accounts.limit, code, CONFIDENCE, f"Since {began:%Y-%m-%d %H:%M} UTC")


def _limits(accounts: Accounts) -> Callable[[str], Interval]:
    """The limits of a sequence; without any record the trivial limits."""

    def limits(name: str) -> Interval:
        sequence = accounts.sequences[name]
        try:
            return sequence.limits()
        except StatisticsError:
            return Interval(0.0, 0.0, sequence.most_per_token)

    return limits


def _design_of_gamble(designs: Sequence[SamplingDesign], longest: int) -> SamplingDesign:
    """The sampling design in which an attacker gains most by answers of up to `longest` tokens that are not audited."""

    def gain(design: SamplingDesign) -> float:
        return whole_answer_gamble(
            design, bits_per_token=1.0, length_limit=longest, power=1.0, escape_probability=1 - CONFIDENCE
        ).gambled_bits

    return max(designs, key=gain)


def _assumptions(settings: Settings, design: SamplingDesign, per_day: float | None, timing: SeriesTiming) -> list[str]:
    measured = "as given" if settings.tokens_per_day else "measured over the last days"
    said = [
        *series_assumptions(
            CONFIDENCE, "the archives whose audit is complete: what is missing, waits or is in quarantine is not in it"
        ),
        f"Early stops and refusals: limits that hold at all times at once with {100 * CONFIDENCE:g}% confidence, if the"
        " audited answers are a random stream of one source.",
        "A day of the future carries what the limit allows for each token so far; what counts once is not multiplied.",
        "Traffic: "
        + (
            "not known yet (archives were followed for less than an hour)"
            if not per_day
            else f"{per_day:.4g} output tokens a day, {measured}"
        )
        + ".",
        f"Weights: {settings.weights_bytes:.3g} bytes, made smaller by a factor of {settings.compression:g} first.",
        f"Gambling: at audit rate {design.rate:.3g} by {design.by}, the least of the last days, a wholly altered answer"
        " is flagged when it is audited.",
    ]
    said.append(f"Readiness: one sidecar, a bit every {READINESS_SECONDS:g} s.")
    if timing.paced:
        said.append("Timing: what the code of releases charges all answers of the last days, audited or not.")
    elif settings.tokens_per_tick is not None:
        said.append(f"Timing: {settings.tokens_per_tick:g} tokens a tick on average, their number free.")
    else:
        said.append(
            "Timing is open, and not in the sum: not all answers of the last days hold when they were released, and"
            " nothing is known of ticks."
        )
    return said
