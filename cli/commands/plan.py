"""The command `verify plan`: the audit that catches an attacker in time, and its cost."""

from collections.abc import Sequence
from dataclasses import asdict
from math import ceil, log2
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from weightwarden.cli.commands.plan_cost import Cost, audit_cost
from weightwarden.cli.commands.plan_deviation import (
    DEVIATION_OPTIONS,
    WITHOUT_DEVIATION,
    DeviationQuestion,
    deviation_text,
)
from weightwarden.cli.options.effect_sizes import read_effect_sizes
from weightwarden.cli.options.quantities import FiniteRange, Positive, Size, size_text
from weightwarden.cli.options.shared import AUDIT_BY_OPTION, with_options
from weightwarden.cli.options.traffic_estimate import (
    AUDIT_OPTIONS,
    LENGTH_OPTION,
    TRAFFIC_OPTIONS,
    TrafficOptions,
    as_json_text,
    traffic_assumptions,
)
from weightwarden.verifier.statistics.planning import Plan, plan, plan_by_tokens
from weightwarden.verifier.statistics.sampling_design import AuditBy

_OF_1016 = "of the messages of 1,016 tokens, of others in proportion to their tokens"
_LENGTHS = (
    "The cost takes the lengths of answers as exponentially distributed: audited ones then have twice the tokens of"
    " others, at most --length-limit."
)


@click.command("plan")
@with_options(
    *TRAFFIC_OPTIONS,
    click.option(
        "--altered-messages",
        type=click.IntRange(1, 10**15),
        metavar="COUNT",
        help="Detect an attacker who alters this many messages.",
    ),
    click.option(
        "--stolen-bytes",
        type=Size(),
        metavar="SIZE",
        help="Detect an attacker who has taken this much in fully altered messages, e.g. 1GB.",
    ),
    click.option(
        "--vocabulary",
        metavar="TOKENS",
        type=click.IntRange(2, 2**31),
        default=65_536,
        show_default=True,
        help="Size of the vocabulary.",
    ),
    click.option(
        "--false-positive-rate",
        metavar="RATE",
        type=FiniteRange(0, 1, max_open=True),
        default=0.0,
        show_default=True,
        help="Share of honest messages that are flagged. A larger share raises the number of flagged"
        " messages for an alarm.",
    ),
    click.option(
        "--alarm-level",
        metavar="PROBABILITY",
        type=FiniteRange(0, 1, min_open=True, max_open=True),
        default=1e-4,
        show_default=True,
        help="Probability of a false alarm: per day, or with --deviation in a series of any length.",
    ),
    click.option(
        "--verifier-throughput",
        type=Positive(),
        metavar="TOKENS",
        help="Tokens (prompts and answers) that one verifier reads per second. With it, the number of"
        " verifiers is shown.",
    ),
    *DEVIATION_OPTIONS,
    LENGTH_OPTION,
    AUDIT_BY_OPTION,
    *AUDIT_OPTIONS,
)
@click.pass_context
def plan_command(
    ctx: click.Context,
    /,
    *,
    altered_messages: int | None,
    stolen_bytes: float | None,
    vocabulary: int,
    length_limit: int,
    audit_by: AuditBy,
    false_positive_rate: float,
    alarm_level: float,
    verifier_throughput: float | None,
    deviation: tuple[str, float | None] | None,
    effect_sizes_path: Path | None,
    audit_rate: float | None,
    power: float,
    confidence: float,
    as_json: bool,
    **traffic_options: Any,
) -> None:
    """Compute the audit rate that catches an attacker within a budget of messages or bytes, and the audit's cost.

    With --deviation: the audited tokens that an alarm on a deviating server takes.

    \b
        verify plan --preset provider-2025-07 --stolen-bytes 1GB
        verify plan --output-tokens-per-day 1e10 --altered-messages 459 --verifier-throughput 50000
        verify plan --deviation int8 --verifier-throughput 50000
    """
    given = TrafficOptions(**traffic_options)
    if deviation is not None:
        _refuse(ctx, ("altered_messages", "stolen_bytes", *WITHOUT_DEVIATION), "says nothing about a --deviation")
        question = DeviationQuestion.of(
            given,
            deviation=deviation,
            audit_rate=audit_rate,
            alarm_level=alarm_level,
            confidence=confidence,
            verifier_throughput=verifier_throughput,
        )
        click.echo(deviation_text(question, read_effect_sizes(effect_sizes_path), as_json=as_json))
        return
    _refuse(ctx, ("effect_sizes_path", "audit_rate"), "needs --deviation")
    traffic = given.traffic()
    if (altered_messages is None) == (stolen_bytes is None):
        raise click.UsageError("give exactly one budget: --altered-messages or --stolen-bytes")
    if traffic.tokens_per_message > length_limit:
        raise click.UsageError(f"{traffic.tokens_per_message:g} tokens a message are more than --length-limit")
    bits_per_message = log2(vocabulary) * length_limit
    if altered_messages is None:
        assert stolen_bytes is not None  # exactly one of the two is given
        altered = ceil(8 * stolen_bytes / bits_per_message)
        per_day = log2(vocabulary) * traffic.output_tokens_per_day / 8
        if stolen_bytes > per_day:
            raise click.UsageError(
                f"{size_text(stolen_bytes)} are {stolen_bytes / per_day:.3g} days of traffic, all of it altered;"
                " a plan is for a day"
            )
    else:
        altered = altered_messages
    audit: dict[str, Any] = {
        "messages_per_day": traffic.messages_per_day,
        "confidence": confidence,
        "power": power,
        "false_positive_rate": false_positive_rate,
        "alarm_level": alarm_level,
    }
    if audit_by == "records":
        found = plan(altered, **audit)
        altered_text = f"The {altered} altered messages come within a day, of {length_limit} tokens or less"
    else:
        found = plan_by_tokens(
            altered, length_limit=length_limit, tokens_per_message=traffic.tokens_per_message, **audit
        )
        altered_text = (
            f"The altered messages come within a day, and have {altered * length_limit:,} tokens together, each"
            f" {length_limit} or less"
        )
    cost = audit_cost(found, traffic, length_limit, verifier_throughput)
    assumptions = [
        *traffic_assumptions(traffic),
        f"{altered_text}: the attacker writes the prompts. The audit is unforeseeable, and flags an audited one with"
        f" probability {power:g}, an honest one with {false_positive_rate:g}.",
        *([_LENGTHS] if audit_by == "tokens" else []),
        "An audited message is read once, prompt and answer, in one forward pass (prefill); generating it took one"
        " pass a token. A token read costs about the arithmetic of a token generated, and far less memory traffic.",
        "Exact replay asks again where the first reading differs; what it costs is measured in docs/exact-replay.md.",
    ]
    if as_json:
        result = asdict(found) | {"stolen_bytes": altered * bits_per_message / 8, "cost": asdict(cost)}
        click.echo(as_json_text(result | {"traffic": asdict(traffic), "assumptions": assumptions}))
    else:
        click.echo(_table(found, cost, altered * bits_per_message / 8, confidence, assumptions))


def _refuse(ctx: click.Context, names: Sequence[str], why: str) -> None:
    """Refuse options that are given on the command line."""
    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if option.name in names and source is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option.opts[0]} {why}")


def _table(found: Plan, cost: Cost, stolen_bytes: float, confidence: float, assumptions: list[str]) -> str:
    rows: list[tuple[str, Any, str]] = [
        (
            "altered messages",
            f"{found.altered:,}",
            ("" if found.by == "records" else "of the most tokens, or as many tokens in shorter ones: ")
            + f"up to {size_text(stolen_bytes)}, caught with {100 * confidence:g}% confidence",
        ),
        ("audit rate", f"{100 * found.audit_rate:.4g}%", "of all messages" if found.by == "records" else _OF_1016),
        ("alarm at", f"{found.alarm_at:,}", "flagged messages a day"),
        ("audited messages", f"{cost.messages_per_second:.4g}", "a second, one forward pass each"),
        ("audited output tokens", f"{cost.output_tokens_per_second:.4g}", "a second"),
        ("tokens read", f"{cost.prefill_tokens_per_second:.4g}", "a second, prompts included"),
        ("  of them", f"{cost.prefill_per_output_token:.4g}", "for each audited output token"),
        ("share of serving", f"{100 * cost.share_of_serving:.4g}%", "of the tokens that the servers process"),
    ]
    if cost.verifiers is not None:
        rows.append(("verifiers", f"{cost.verifiers:,}", "at the throughput given"))
    lines = [f"  {name:<22} {value:>14}  {what}" for name, value, what in rows]
    return "\n".join([*lines, "", "Assumes:", "", *(f"  - {said}" for said in assumptions)])
