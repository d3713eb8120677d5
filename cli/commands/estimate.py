"""`verify estimate`: how much can leave a day, how long the weights take, and how soon that is seen."""

from pathlib import Path
from typing import Any

import click

from weightwarden.cli.commands.estimate_report import estimate_assumptions, estimate_result, estimate_table
from weightwarden.cli.options.quantities import FiniteRange, Positive, Size
from weightwarden.cli.options.shared import with_options
from weightwarden.cli.options.token_bound import token_bound
from weightwarden.cli.options.traffic_estimate import (
    AUDIT_OPTIONS,
    LENGTH_OPTION,
    TRAFFIC_OPTIONS,
    TrafficOptions,
    as_json_text,
)
from weightwarden.verifier.statistics.exfiltration import AuditAssumptions, Leak, TimingChannel, Weights, estimate


@click.command("estimate")
@with_options(
    *TRAFFIC_OPTIONS,
    click.option(
        "--policy",
        "policy_path",
        type=click.Path(path_type=Path),
        metavar="P",
        help="Take the bits a token from a policy's evaluation (upper limit). Default: the bundled policy.",
    ),
    click.option(
        "--report",
        "report_path",
        type=click.Path(path_type=Path),
        metavar="F",
        help="Take them from a JSON report of `verify run` (limit for all its records).",
    ),
    click.option("--bits-per-token", type=FiniteRange(0), metavar="B", help="Take this many."),
    click.option(
        "--vocabulary",
        type=click.IntRange(2, 2**31),
        help="Tokens to choose from freely. Default: 65536, or the report's.",
    ),
    click.option(
        "--weights",
        "size_bytes",
        type=Size(),
        default="1TB",
        show_default=True,
        metavar="SIZE",
        help="Size of the model.",
    ),
    click.option(
        "--compression",
        type=FiniteRange(1),
        default=1.0,
        show_default=True,
        help="By what factor the attacker makes the weights smaller first.",
    ),
    click.option(
        "--audit-rate",
        type=FiniteRange(0, 1, min_open=True),
        default=0.01,
        show_default=True,
        help="Share of the messages that is audited.",
    ),
    click.option(
        "--alarm-at",
        type=click.IntRange(1, 10**9),
        default=1,
        show_default=True,
        help="Flagged messages at which the alarm is raised.",
    ),
    click.option(
        "--early-stop-share",
        type=FiniteRange(0, 1),
        default=1e-3,
        show_default=True,
        help="Share of answers that may end early without an alarm.",
    ),
    click.option(
        "--refusal-share",
        type=FiniteRange(0, 1),
        default=1e-3,
        show_default=True,
        help="Share of requests that may be refused or fail without an alarm.",
    ),
    click.option(
        "--tokens-per-tick",
        type=Positive(),
        metavar="N",
        help="Mean tokens that a stream releases on a tick of the sidecar. Default: no ticks, timing is open.",
    ),
    click.option(
        "--token-gap",
        type=Positive(),
        default=20.0,
        show_default=True,
        metavar="MS",
        help="Without ticks: mean time between tokens.",
    ),
    click.option(
        "--clock",
        type=Positive(),
        default=1.0,
        show_default=True,
        metavar="MS",
        help="Without ticks: how finely the receiver tells when a token came.",
    ),
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
    alarm_at: int,
    early_stop_share: float,
    refusal_share: float,
    length_limit: int,
    tokens_per_tick: float | None,
    token_gap: float,
    clock: float,
    power: float,
    confidence: float,
    as_json: bool,
    **traffic_options: Any,
) -> None:
    """Bits a day that can leave unseen, days until the weights are out, and days until an attacker is caught.

    \b
        verify estimate --preset provider-2025-07 --weights 1TB
        verify estimate --output-tokens-per-day 5e11 --report report.json --json
    """
    traffic = TrafficOptions(**traffic_options).traffic()
    bound = token_bound(policy_path, report_path, bits_per_token, vocabulary)
    leak = Leak(
        bits_per_token=bound.bits_per_token,
        contains_gamble=bound.contains_gamble,
        early_stop_share=early_stop_share,
        length_limit=length_limit,
        refusal_share=refusal_share,
        timing=TimingChannel(tokens_per_tick=tokens_per_tick, gap=token_gap, resolution=clock),
        log2_vocabulary=bound.log2_vocabulary,
    )
    audit = AuditAssumptions(rate=audit_rate, power=power, alarm_at=alarm_at, confidence=confidence)
    weights = Weights(size_bytes=size_bytes, compression=compression)
    found = estimate(traffic, leak, audit, weights)
    assumptions = estimate_assumptions(traffic, leak, audit, bound)
    if as_json:
        click.echo(as_json_text(estimate_result(found, traffic, bound, weights) | {"assumptions": assumptions}))
    else:
        click.echo(estimate_table(found, traffic, leak, audit, weights, assumptions))
