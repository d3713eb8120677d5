"""The part of `verify plan` that prices a verdict: audited tokens until the alarm on a deviating server."""

from dataclasses import asdict, dataclass
from math import inf, log
from pathlib import Path
from typing import Self

import click

from weightwarden.cli.options.effect_sizes import DeviationName, EffectSizesFile
from weightwarden.cli.options.quantities import SECONDS_A_DAY, FiniteRange, days_text
from weightwarden.cli.options.traffic_estimate import TrafficOptions, as_json_text, traffic_assumptions
from weightwarden.verifier.statistics.effect_sizes import VerdictPrice, verdict_price
from weightwarden.verifier.statistics.traffic import Traffic

DEVIATION_OPTIONS = (
    click.option(
        "--deviation",
        type=DeviationName(),
        metavar="NAME[:SIZE]",
        help="Instead of a budget: the audited tokens until the monitor's alarm on a server that deviates in every"
        " answer. int8, wrong-seed, admissible:SHARE (admissible tokens at a share of the positions), substitution:RATE"
        " (random tokens), temperature:FACTOR.",
    ),
    click.option(
        "--effect-sizes",
        "effect_sizes_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Effect sizes of deviations, measured with your own model. Default: those of the embedded model.",
    ),
    click.option(
        "--audit-rate",
        type=FiniteRange(0, 1, min_open=True),
        metavar="SHARE",
        help="With --deviation: share of the messages that is audited. With it and the traffic, days are shown.",
    ),
)
WITHOUT_DEVIATION = ("vocabulary", "false_positive_rate", "length_limit", "audit_by", "power")
"""Options that say nothing about a deviation."""


@dataclass(frozen=True, kw_only=True)
class DeviationPlan:
    """The price of a verdict on a deviating server.

    Attributes:
        deviation: the deviation, with its size.
        audited_tokens: audited output tokens until the alarm; inf if it never comes.
        optimum_tokens: the same, on average, of a likelihood ratio of the known deviation.
        nats_per_token: Kullback-Leibler divergence of the deviation from an honest server.
        tokens_read: tokens that the verifiers read for it, prompts included.
        verifier_seconds: seconds of one verifier, or None without its throughput.
        days: days of the audit, or None without traffic and audit rate.
        alarm_level: probability of a false alarm in a series of any length.
        confidence: probability that the alarm has come by then.
    """

    deviation: str
    audited_tokens: float
    optimum_tokens: float
    nats_per_token: float
    tokens_read: float
    verifier_seconds: float | None
    days: float | None
    alarm_level: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class DeviationQuestion:
    """The question of a price.

    Attributes:
        deviation: kind and size (`DeviationName`).
        verifier_throughput: tokens that a verifier reads a second.
        output_share: output tokens as a share of all; None for that of the measurement.
        traffic: the traffic, if days are asked for.
        audit_rate: share of the messages that is audited, if days are asked for.
    """

    deviation: tuple[str, float | None]
    alarm_level: float
    confidence: float
    verifier_throughput: float | None
    output_share: float | None
    traffic: Traffic | None
    audit_rate: float | None

    @classmethod
    def of(
        cls,
        given: TrafficOptions,
        *,
        deviation: tuple[str, float | None],
        audit_rate: float | None,
        alarm_level: float,
        confidence: float,
        verifier_throughput: float | None,
    ) -> Self:
        """The question of the options.

        Raises:
            click.UsageError: only one of traffic and audit rate is given, or the traffic's size is missing.
            StatisticsError: the values describe no possible traffic.
        """
        if given.describes_traffic != (audit_rate is not None):
            raise click.UsageError("days need both --audit-rate and the traffic: give both, or neither")
        return cls(
            deviation=deviation,
            alarm_level=alarm_level,
            confidence=confidence,
            verifier_throughput=verifier_throughput,
            output_share=given.output_share,
            traffic=given.traffic() if audit_rate is not None else None,
            audit_rate=audit_rate,
        )


def deviation_plan(question: DeviationQuestion, measured: EffectSizesFile) -> tuple[DeviationPlan, VerdictPrice]:
    """The price by measured effect sizes.

    Raises:
        StatisticsError: the deviation was not measured, or its size is outside of the measured ones.
    """
    kind, rate = question.deviation
    price = verdict_price(measured.sizes(), kind, rate, alarm_level=question.alarm_level, power=question.confidence)
    per_token = 1 + measured.prompt_tokens_per_output_token
    if question.output_share is not None:
        per_token = 1 / question.output_share
    read = price.tokens * per_token
    days = None
    if question.traffic is not None and question.audit_rate is not None:
        days = price.tokens / (question.audit_rate * question.traffic.output_tokens_per_day)
    named = rate if rate is not None else price.between[1]  # the largest that was measured
    found = DeviationPlan(
        deviation=kind if named is None else f"{kind}:{named:g}",
        audited_tokens=price.tokens,
        optimum_tokens=price.optimum_tokens,
        nats_per_token=log(1 / question.alarm_level) / price.optimum_tokens,
        tokens_read=read,
        verifier_seconds=None if question.verifier_throughput is None else read / question.verifier_throughput,
        days=days,
        alarm_level=question.alarm_level,
        confidence=question.confidence,
    )
    return found, price


def assumptions(question: DeviationQuestion, measured: EffectSizesFile, price: VerdictPrice) -> list[str]:
    """Assumptions of a price, in words."""
    of_kind = [of for of in measured.deviations if of.deviation == question.deviation[0]]
    used = [of for of in of_kind if of.rate in price.between]
    tokens, records = sum(of.tokens for of in used), sum(of.records for of in used)
    low, high = price.between
    interpolated = "" if low == high else f", between the rates {low:g} and {high:g}"
    said = [
        f"Every answer deviates, from the first audited one on. Measured on {measured.model}, {tokens:,} tokens in"
        f" {records:,} answers{interpolated}; another model, engine or length of answers has other figures"
        " (--effect-sizes).",
        f"The monitor inspects every answer of a series, and alarms in an honest one of any length with a probability"
        f" of at most {question.alarm_level:g}. Audited answers count whole.",
        "The time to the alarm is that of a random walk with the mean and variance of one bet (an inverse Gaussian"
        " law): an approximation, within a factor of 2 of random orders of the measured answers.",
        "The optimum is a mean, for a test that knows the deviation and the honest law exactly.",
    ]
    if question.traffic is not None:
        said += traffic_assumptions(question.traffic)
    return said


def deviation_text(question: DeviationQuestion, measured: EffectSizesFile, *, as_json: bool) -> str:
    """The price as a table, or as JSON.

    Raises:
        StatisticsError: as `deviation_plan`.
    """
    found, price = deviation_plan(question, measured)
    said = assumptions(question, measured, price)
    if as_json:
        traffic = None if question.traffic is None else asdict(question.traffic)
        return as_json_text(asdict(found) | {"traffic": traffic, "assumptions": said})
    by_then = f"until the alarm, with {100 * found.confidence:g}% confidence"
    rows = [
        ("deviation", found.deviation, "in every answer"),
        ("audited tokens", _tokens(found.audited_tokens), by_then),
        ("optimum", _tokens(found.optimum_tokens), "on average, by the likelihood ratio of the known deviation"),
        ("effect size", f"{found.nats_per_token:.3g}", "nats a token (Kullback-Leibler divergence)"),
        ("tokens read", _tokens(found.tokens_read), "prompts included"),
    ]
    if found.verifier_seconds is not None:
        rows.append(("verifier time", _duration(found.verifier_seconds), "of one verifier, at the throughput given"))
    if found.days is not None and question.audit_rate is not None:
        audited = f"of traffic, {100 * question.audit_rate:.4g}% of it audited"
        rows.append(("traffic until then", days_text(found.days), audited))
    lines = [f"  {name:<22} {value:>18}  {what}" for name, value, what in rows]
    return "\n".join([*lines, "", "Assumes:", "", *(f"  - {line}" for line in said)])


def _tokens(count: float) -> str:
    return "never" if count == inf else f"{count:,.0f}"


def _duration(seconds: float) -> str:
    return "never" if seconds == inf else days_text(seconds / SECONDS_A_DAY)
