"""Report of an estimate: JSON for programs, a table for people, and the assumptions of both."""

from dataclasses import asdict
from typing import Any

from weightwarden.cli.options.quantities import count_text, days_text, power_of_ten_text, size_text
from weightwarden.cli.options.timing import TimingOptions
from weightwarden.cli.options.token_bound import TokenBound
from weightwarden.cli.options.traffic_estimate import traffic_assumptions
from weightwarden.verifier.statistics.exfiltration import AuditAssumptions, Estimate, Leak, Weights
from weightwarden.verifier.statistics.traffic import Traffic


def estimate_result(found: Estimate, traffic: Traffic, leak: Leak, weights: Weights) -> dict[str, Any]:
    """The estimate's JSON fields, without its assumptions."""
    return {
        "bits_per_day": found.bits_per_day,
        "all_bits_per_token": found.bits_per_token,
        "bits_per_day_per_site": found.bits_per_day / traffic.sites,
        "channel_bytes_per_day": traffic.bytes_per_day(leak.log2_vocabulary / 8),
        "days_to_exfiltrate": found.days_to_exfiltrate,
        "dominant": found.dominant,
        "terms": [asdict(term) for term in found.terms],
        "gambled_bits_once": found.gamble.gambled_bits,
        "gambled_messages_once": found.gamble.gambled,
        "gambled_message_tokens": found.gambled_tokens,
        "stock_bits_once": leak.stock_bits,
        "paces": [asdict(pace) for pace in found.paces],
        "bits_per_token": leak.bits_per_token,
        "weights_bits": weights.bits,
        "traffic": asdict(traffic),
    }


def estimate_table(
    found: Estimate, traffic: Traffic, leak: Leak, audit: AuditAssumptions, weights: Weights, assumptions: list[str]
) -> str:
    """The estimate and its assumptions as text for a terminal."""
    confidence = f"{100 * audit.confidence:g}%"
    lines = [
        "Staying under every threshold:",
        "",
        f"  {'channel':<30} {'bits a token':>12} {'bits a day':>12} {'bytes a day':>12}",
    ]
    for term in found.terms:
        note = "" if term.counted else "  OPEN, not in the sum: release at a pace"
        lines.append(f"  {term.name:<30} {_columns(term.bits_per_day, traffic)}{note}")
    lines += [
        f"  {'all that are counted':<30} {_columns(found.bits_per_day, traffic)}"
        f"  ({size_text(found.bits_per_day / 8 / traffic.sites)} a site)",
        "",
        *(
            [
                f"  {size_text(leak.stock_bits / 8)} once, whatever the traffic: what a few unaudited answers can hold",
                "",
            ]
            if leak.stock_bits
            else []
        ),
        f"  {size_text(weights.size_bytes)} of weights, {size_text(weights.bits / 8)} after compression:"
        f" {_leaving(found, leak)}",
        "",
        "Gambling on not being sampled: altered messages that raise no alarm with probability"
        f" {1 - audit.confidence:.2g} or more:",
        "",
        f"  at most {_gambled(found, leak, audit)}, once"
        + ("; not added: the report's limit is of all answers, audited or not" if leak.stock_bits is not None else ""),
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


def _columns(bits_per_day: float, traffic: Traffic) -> str:
    """A channel's bits a token, bits a day and bytes a day."""
    per_token = bits_per_day / traffic.output_tokens_per_day
    return f"{per_token:>12.3g} {bits_per_day:>12.3g} {size_text(bits_per_day / 8):>12}"


def _gambled(found: Estimate, leak: Leak, audit: AuditAssumptions) -> str:
    """The gamble in words: by records a number of messages, by tokens the most that any lengths carry."""
    size = size_text(found.gamble.gambled_bits / 8)
    if audit.by == "records":
        return f"{count_text(found.gamble.gambled)} of up to {leak.length_limit:,} tokens, {size}"
    if not found.gambled_tokens:
        return size
    count = count_text(found.gamble.gambled)
    return f"{size}, in about {count} of {found.gambled_tokens:,} tokens, the length that pays best for its risk"


def _leaving(found: Estimate, leak: Leak) -> str:
    """The time until the weights are out, in words."""
    if found.gamble_suffices:
        what = "what gambling carries (below)" if leak.stock_bits is None else "what a few unaudited answers can hold"
        return f"{what} is enough, in no less than {days_text(found.days_to_exfiltrate)}"
    if found.bits_per_day == 0:
        return "the counted channels carry nothing"
    return f"out in {days_text(found.days_to_exfiltrate)}; the largest part: {found.dominant}"


def estimate_assumptions(
    found: Estimate, traffic: Traffic, leak: Leak, audit: AuditAssumptions, bound: TokenBound, timing: TimingOptions
) -> list[str]:
    """Assumptions of the figures, as sentences."""
    return [
        *traffic_assumptions(traffic),
        f"Tokens: {bound.bits_per_token:.4g} bits each unseen ({bound.source}); {bound.log2_vocabulary:.4g} bits where"
        " they are chosen freely.",
        *(
            []
            if leak.stock_bits is None
            else [
                f"Once: {size_text(leak.stock_bits / 8)} in answers that happen not to be audited, which no time"
                " multiplies: the report's, or that of a series audited as below with answers up to the length limit,"
                " whichever is more."
            ]
        ),
        f"Audit: {100 * audit.rate:g}% of the messages"
        + ("" if audit.by == "records" else " of 1,016 tokens, and of others in proportion to their tokens")
        + ", unforeseeable; an altered one is flagged with probability"
        f" {audit.power:g}; alarm at {audit.alarm_at}, after which nothing leaves. Times to the alarm count sent"
        " messages: sealing and replaying them come on top.",
        f"Altered messages have {leak.length_limit} tokens, or what the traffic has for them"
        + ("" if audit.by == "records" else f"; those of the one gamble have {found.gambled_tokens}")
        + ": the attacker writes the prompts.",
        f"Unnoticed: {100 * leak.early_stop_share:g}% early stops in one of {leak.length_limit} places,"
        f" {100 * leak.refusal_share:g}% refusals.",
        timing.source(leak.timing, bound.timing),
        f"Readiness: {timing.sidecars} sidecar(s), a bit every {timing.ready_every:g} s each.",
        "The receiver knows prompts and seeds and loses nothing; seeds are the sidecar's; nothing bypasses the log.",
    ]
