"""`verify estimate`: how much can leave a day, how long the weights take, and how soon that is seen."""

from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from math import log2
from pathlib import Path
from typing import Any

import click

from weightwarden.cli.options.quantities import (
    FiniteRange,
    Positive,
    Size,
    count_text,
    days_text,
    power_of_ten_text,
    size_text,
)
from weightwarden.cli.options.shared import with_options
from weightwarden.cli.options.traffic_estimate import (
    AUDIT_OPTIONS,
    LENGTH_OPTION,
    TRAFFIC_OPTIONS,
    TrafficOptions,
    as_json_text,
    traffic_assumptions,
)
from weightwarden.cli.reports.reading import read_report
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.statistics.exfiltration import (
    AuditAssumptions,
    Estimate,
    Leak,
    TimingChannel,
    Weights,
    estimate,
)
from weightwarden.verifier.statistics.traffic import Traffic
from weightwarden.verifier.verification.series_monitor import honest_limits


@dataclass(frozen=True)
class TokenBound:
    """A bound of the bits that a token can carry unseen.

    Attributes:
        bits_per_token: the bound.
        log2_vocabulary: bits of a token that is chosen freely.
        source: where the bound is from.
        contains_gamble: whether it covers messages that were not audited, and so what they gambled.
    """

    bits_per_token: float
    log2_vocabulary: float
    source: str
    contains_gamble: bool = False


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
    bound = _bound(policy_path, report_path, bits_per_token, vocabulary)
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
    assumptions = _assumptions(traffic, leak, audit, bound)
    if as_json:
        click.echo(as_json_text(_result(found, traffic, bound, weights) | {"assumptions": assumptions}))
    else:
        click.echo(_table(found, traffic, leak, audit, weights, assumptions))


def _bound(
    policy_path: Path | None, report_path: Path | None, bits_per_token: float | None, vocabulary: int | None
) -> TokenBound:
    """Where the bits a token come from: exactly one of the three, or the bundled policy."""
    if sum(given is not None for given in (policy_path, report_path, bits_per_token)) > 1:
        raise click.UsageError("--policy, --report or --bits-per-token: one of them")
    if report_path is not None:
        if vocabulary is not None:
            raise click.UsageError("--vocabulary or --report, which has one")
        report = read_report(report_path)
        statistics = report.statistics
        name, bits = min(
            (
                ("counting bound", statistics.bits_per_token.counting),
                ("pooled bound", statistics.bits_per_token.pooled),
            ),
            key=lambda item: item[1].limit,
        )
        sampled = len(statistics.records.tokens) < report.total_records
        whose = "all records, what unaudited ones gambled included" if sampled else "all records, every one audited"
        # The smaller of two limits: either may miss.
        limit = f"{name} for {whose}, {100 * (2 * statistics.confidence - 1):g}% confidence"
        doubts = ("; ITS VERDICT IS ALARM" if report.verdict == "alarm" else "") + (
            "; unsigned" if report.unsafe_unsigned else ""
        )
        capped = min(bits.limit, statistics.log2_vocabulary)
        return TokenBound(capped, statistics.log2_vocabulary, f"{report_path}: {limit}{doubts}", sampled)
    vocabulary = vocabulary or 65_536
    if bits_per_token is not None:
        return TokenBound(bits_per_token, log2(vocabulary), "as given")
    if policy_path is None:
        with as_file(files("weightwarden.cli") / "bundled") as bundled:
            policy, name = read_policy(bundled / "policy.toml"), "bundled policy"
    else:
        policy, name = read_policy(policy_path), str(policy_path)
    what = "pooled bound on the half that did not choose it" if isinstance(policy, Policy) else "ties, counted twice"
    limit_of = honest_limits(policy)["pooled_bits"]
    return TokenBound(limit_of, log2(vocabulary), f"{name}: {what}, upper 97.5% limit by clusters, approximate")


def _result(found: Estimate, traffic: Traffic, bound: TokenBound, weights: Weights) -> dict[str, Any]:
    return {
        "bits_per_day": found.bits_per_day,
        "bits_per_day_per_site": found.bits_per_day / traffic.sites,
        "channel_bytes_per_day": traffic.bytes_per_day(bound.log2_vocabulary / 8),
        "days_to_exfiltrate": found.days_to_exfiltrate,
        "dominant": found.dominant,
        "terms": [asdict(term) for term in found.terms],
        "gambled_bits_once": found.gamble.gambled_bits,
        "gambled_messages_once": found.gamble.gambled,
        "gamble_in_bits_per_token": bound.contains_gamble,
        "paces": [asdict(pace) for pace in found.paces],
        "bits_per_token": bound.bits_per_token,
        "weights_bits": weights.bits,
        "traffic": asdict(traffic),
    }


def _table(
    found: Estimate, traffic: Traffic, leak: Leak, audit: AuditAssumptions, weights: Weights, assumptions: list[str]
) -> str:
    confidence = f"{100 * audit.confidence:g}%"
    lines = ["Staying under every threshold:", "", f"  {'channel':<30} {'bits a day':>12} {'bytes a day':>12}"]
    for term in found.terms:
        note = "" if term.counted else "  OPEN, not in the sum: release on ticks"
        lines.append(f"  {term.name:<30} {term.bits_per_day:>12.3g} {size_text(term.bits_per_day / 8):>12}{note}")
    lines += [
        f"  {'all that are counted':<30} {found.bits_per_day:>12.3g} {size_text(found.bits_per_day / 8):>12}"
        f"  ({size_text(found.bits_per_day / 8 / traffic.sites)} a site)",
        "",
        f"  {size_text(weights.size_bytes)} of weights, {size_text(weights.bits / 8)} after compression:"
        f" {_leaving(found)}",
        "",
        "Gambling on not being sampled: altered messages that raise no alarm with probability"
        f" {1 - audit.confidence:.2g} or more:",
        "",
        f"  at most {count_text(found.gamble.gambled)} of up to {leak.length_limit:,} tokens,"
        f" {size_text(found.gamble.gambled_bits / 8)}, once"
        + ("; the tokens' term contains it, and it is not added again" if leak.contains_gamble else ""),
        "",
        f"  {'share altered':>13} {'bytes a day':>12} {'weights out':>14} {'caught, mean':>14}"
        f" {f'caught, {confidence}':>14} {'never caught':>13}",
    ]
    for pace in found.paces:
        lines.append(
            f"  {pace.share:>13g} {size_text(pace.bits_per_day / 8):>12} {days_text(pace.days_to_exfiltrate):>14}"
            f" {days_text(pace.mean_days_to_alarm):>14} {days_text(pace.days_to_alarm):>14}"
            f" {power_of_ten_text(pace.log10_escape_probability):>13}"
        )
    return "\n".join([*lines, "", "Assumes:", "", *(f"  - {said}" for said in assumptions)])


def _leaving(found: Estimate) -> str:
    """How soon the weights are out, in words."""
    if found.gamble_suffices:
        return f"what gambling carries (below) is enough, in no less than {days_text(found.days_to_exfiltrate)}"
    if found.bits_per_day == 0:
        return "the counted channels carry nothing"
    return f"out in {days_text(found.days_to_exfiltrate)}; the largest part: {found.dominant}"


def _assumptions(traffic: Traffic, leak: Leak, audit: AuditAssumptions, bound: TokenBound) -> list[str]:
    timing = (
        f"Timing is open: {leak.timing.bits_per_token:.2g} bits a token more, for tokens {leak.timing.gap:g} ms apart"
        f" that a receiver tells to {leak.timing.resolution:g} ms."
        if leak.timing.open
        else f"Timing: {leak.timing.tokens_per_tick:g} tokens a tick on average, their number free:"
        f" {leak.timing.bits_per_token:.2g} bits a token."
    )
    return [
        *traffic_assumptions(traffic),
        f"Tokens: {bound.bits_per_token:.4g} bits each unseen ({bound.source}); {bound.log2_vocabulary:.4g} bits where"
        " they are chosen freely.",
        f"Audit: {100 * audit.rate:g}% of the messages, unforeseeable; an altered one is flagged with probability"
        f" {audit.power:g}; alarm at {audit.alarm_at}, after which nothing leaves. Times to the alarm count sent"
        " messages: sealing and replaying them come on top.",
        f"Altered messages have {leak.length_limit} tokens, or what the traffic has for them: the attacker writes the"
        " prompts.",
        f"Unnoticed: {100 * leak.early_stop_share:g}% early stops in one of {leak.length_limit} places,"
        f" {100 * leak.refusal_share:g}% refusals.",
        timing,
        "The receiver knows prompts and seeds and loses nothing; seeds are the sidecar's; nothing bypasses the log.",
    ]
