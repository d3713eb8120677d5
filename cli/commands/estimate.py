"""The command `verify estimate`: leakage a day, time until the weights are out, time until an attacker is caught."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from weightwarden.cli.commands.estimate_report import estimate_assumptions, estimate_result, estimate_table
from weightwarden.cli.options.quantities import FiniteRange, Size
from weightwarden.cli.options.shared import AUDIT_BY_OPTION, with_options
from weightwarden.cli.options.timing import TIMING_OPTIONS, TimingOptions
from weightwarden.cli.options.token_bound import series_stock, token_bound
from weightwarden.cli.options.traffic_estimate import (
    AUDIT_OPTIONS,
    LENGTH_OPTION,
    TRAFFIC_OPTIONS,
    TrafficOptions,
    as_json_text,
)
from weightwarden.verifier.statistics.exfiltration import AuditAssumptions, Leak, Weights, estimate
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign


@click.command("estimate")
@with_options(
    *TRAFFIC_OPTIONS,
    click.option(
        "--policy",
        "policy_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Take the bits per token from this policy (upper limit). Default: the bundled policy.",
    ),
    click.option(
        "--report",
        "report_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Take the limit for all records from this JSON report of `verify run`: bits per token, and bits once.",
    ),
    click.option("--bits-per-token", type=FiniteRange(0), metavar="BITS", help="Bits per token that leave unseen."),
    click.option(
        "--vocabulary",
        metavar="TOKENS",
        type=click.IntRange(2, 2**31),
        help="Size of the vocabulary. Default: 65536, or the report's.",
    ),
    click.option(
        "--weights",
        "size_bytes",
        type=Size(),
        default="1TB",
        show_default=True,
        metavar="SIZE",
        help="Size of the weights.",
    ),
    click.option(
        "--compression",
        metavar="FACTOR",
        type=FiniteRange(1),
        default=1.0,
        show_default=True,
        help="Factor by which the attacker compresses the weights first.",
    ),
    click.option(
        "--audit-rate",
        metavar="RATE",
        type=FiniteRange(0, 1, min_open=True),
        default=0.01,
        show_default=True,
        help="Share of the messages that is audited.",
    ),
    AUDIT_BY_OPTION,
    click.option(
        "--alarm-at",
        metavar="COUNT",
        type=click.IntRange(1, 10**9),
        default=1,
        show_default=True,
        help="Number of flagged messages at which the alarm is raised.",
    ),
    click.option(
        "--early-stop-share",
        metavar="SHARE",
        type=FiniteRange(0, 1),
        default=1e-3,
        show_default=True,
        help="Share of answers that may stop early without an alarm.",
    ),
    click.option(
        "--refusal-share",
        metavar="SHARE",
        type=FiniteRange(0, 1),
        default=1e-3,
        show_default=True,
        help="Share of requests that may be refused or fail without an alarm.",
    ),
    *TIMING_OPTIONS,
    LENGTH_OPTION,
    *AUDIT_OPTIONS,
)
def estimate_command(
    *,
    policy_path: Path | None,
    report_path: Path | None,
    bits_per_token: float | None,
    vocabulary: int | None,
    size_bytes: float,
    compression: float,
    audit_rate: float,
    audit_by: AuditBy,
    alarm_at: int,
    early_stop_share: float,
    refusal_share: float,
    length_limit: int,
    power: float,
    confidence: float,
    as_json: bool,
    **more: Any,
) -> None:
    """Estimate the bits a day that leave unseen, the days until the weights are out and until the attacker is caught.

    \b
        verify estimate --preset provider-2025-07 --weights 1TB
        verify estimate --output-tokens-per-day 5e11 --report report.json --json
    """
    timing = TimingOptions(**{name.name: more.pop(name.name) for name in fields(TimingOptions)})
    traffic = TrafficOptions(**more).traffic()
    bound = token_bound(policy_path, report_path, bits_per_token, vocabulary)
    leak = Leak(
        bits_per_token=bound.bits_per_token,
        stock_bits=series_stock(bound, SamplingDesign(audit_rate, audit_by), length_limit),
        early_stop_share=early_stop_share,
        length_limit=length_limit,
        refusal_share=refusal_share,
        timing=timing.channel(bound.timing, traffic.tokens_per_message),
        log2_vocabulary=bound.log2_vocabulary,
        readiness_per_day=timing.readiness_per_day,
    )
    audit = AuditAssumptions(rate=audit_rate, by=audit_by, power=power, alarm_at=alarm_at, confidence=confidence)
    weights = Weights(size_bytes=size_bytes, compression=compression)
    found = estimate(traffic, leak, audit, weights)
    assumptions = estimate_assumptions(found, traffic, leak, audit, bound, timing)
    if as_json:
        click.echo(as_json_text(estimate_result(found, traffic, leak, weights) | {"assumptions": assumptions}))
    else:
        click.echo(estimate_table(found, traffic, leak, audit, weights, assumptions))
