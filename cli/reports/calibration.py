"""The result of `verify calibrate`, for a terminal and for programs."""

from math import isfinite, log2
from typing import Any

import numpy as np

from weightwarden.cli.reports.weakness import weakness
from weightwarden.verifier.calibration.fit import CalibrationResult
from weightwarden.verifier.calibration.growth import TrafficGrowth
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.token_scores import gumbel_likelihood_score


def exact_summary(policy: ExactPolicy, vocabulary: int) -> str:
    """The result of exact calibration, with confidence limits."""
    check = policy.check
    bits = check.charged_bits_per_token
    return "\n".join(
        [
            f"Exact: none of {check.tokens} honest tokens in {check.records} records differs beyond ties.",
            "",
            f"  with 95% confidence, at most {100 * check.record_mismatch_upper:.2g}% of honest records would hold a"
            f" mismatch ({100 * check.token_mismatch_upper:.2g}% of tokens)",
            f"  tied positions        {check.tied_positions:8d}",
            f"  unresolved positions  {check.unresolved_positions:8d}",
            f"  charged               {bits.value:8.4f} bits a token  [{bits.low:.4f}, {bits.high:.4f}],"
            f" {100 * bits.value / log2(vocabulary):.4f}% of log2 V",
            *weakness(policy.made_for.scheme, bits.value),
        ]
    )


def calibrated_summary(result: CalibrationResult, vocabulary: int) -> str:
    """The result of a calibration: the trade-off, the figures of the other half, and what more traffic would buy."""
    policy = result.policy
    weak = weakness(policy.made_for.scheme, policy.evaluation.charged_bits_per_token.value)
    return "\n\n".join([trade_off_table(result, vocabulary), *weak, growth_table(result.growth)])


def trade_off_table(result: CalibrationResult, vocabulary: int) -> str:
    """Tolerances tried, with their cost for honest tokens and their use for an attacker. The chosen one is marked."""
    policy = result.policy
    lines = [
        f"Trade-off on the calibration half ({policy.calibration.records} records, {policy.calibration.tokens} tokens;"
        f" logit slack {policy.thresholds.logit_slack_logits:g}, mass slack {policy.thresholds.mass_slack:g}):",
        "",
        "  margin  rank limit  suspicious  dangerous      charged",
        "  logits   (tokens)   % of tokens % of tokens  % of log2 V",
    ]
    for point in result.trade_off:
        mark = " <- chosen" if point.margin == result.chosen.margin else ""
        lines.append(
            f"  {point.margin:6.2f}  {point.rank_limit:10d}  {100 * point.suspicious:10.3f}"
            f"  {100 * point.dangerous:9.3f}  {100 * point.bits_per_token / log2(vocabulary):11.3f}{mark}"
        )
    evaluation = policy.evaluation
    lines += ["", f"Dangerous at the chosen threshold: {result.dangerous} (97.5%, records as clusters)."]
    lines += [
        "",
        f"On the other half ({evaluation.records} records, {evaluation.tokens} tokens), with 95% intervals:",
        "",
    ]
    for name, rate in (
        ("exact match", evaluation.exact_match),
        ("suspicious", evaluation.suspicious),
        ("dangerous", evaluation.dangerous),
        (f"beyond {policy.noise.outlier_margin_logits:g} logits", evaluation.outliers),
    ):
        lines.append(f"  {name:<20} {100 * rate.value:8.3f}%  [{100 * rate.low:.3f}%, {100 * rate.high:.3f}%]")
    bits = evaluation.charged_bits_per_token
    lines.append(
        f"  {'charged':<20} {bits.value:8.4f} bits a token  [{bits.low:.4f}, {bits.high:.4f}],"
        f" {100 * bits.value / log2(vocabulary):.3f}% of log2 V"
    )
    lines.append(f"  {'flagged records':<20} {evaluation.flagged_records:8d} of {evaluation.records}")
    thresholds = policy.thresholds
    tau = float(gumbel_likelihood_score(np.array([thresholds.margin_logits]), thresholds.noise_scale_logits)[0])
    lines.append(
        f"\nNoise scale sigma {thresholds.noise_scale_logits:.4f} logits; the margin threshold as a GM-LS threshold:"
        f" tau {tau:.2f} nats"
    )
    return "\n".join(lines)


def growth_table(growth: list[TrafficGrowth]) -> str:
    """Growth of a test with more honest traffic, as a table and in a sentence."""
    now, ten, limit = (next(one for one in growth if one.multiple == multiple) for multiple in (1, 10, np.inf))
    lines = [
        "What more honest traffic would buy, against an attacker who uses every admissible token alike (alarm at"
        f" {RUN_ALARM_LEVEL:g}):",
        "",
        "  honest traffic         growth, nats  seen after about",
        "  (tokens)                    a token  (audited tokens)",
    ]
    for one in growth:
        amount = f"{one.honest_tokens:,.0f}" if isfinite(one.multiple) else "odds known exactly"
        lines.append(f"  {amount:<20} {one.nats_per_token:13.4f}  {_rounded(one.tokens_to_alarm):>16}")
    if not limit.nats_per_token:
        return "\n".join([*lines, "", "No amount does: this traffic offers hardly an alternative."])
    lines += [
        "",
        f"With this policy's bounds the best test would see such an attacker {_seen(now)}; with ten times as much"
        f" honest traffic {_seen(ten)}; with any amount {_seen(limit)} at the earliest.",
    ]
    return "\n".join(lines)


def calibrated_json(result: CalibrationResult) -> dict[str, Any]:
    """The result of a calibration as JSON. The policy's file has its figures."""
    return {
        "exact": False,
        "warnings": result.warnings,
        "trade_off": [
            {
                "margin_logits": point.margin,
                "rank_limit_tokens": point.rank_limit,
                "suspicious_share": point.suspicious,
                "dangerous_share": point.dangerous,
                "charged_bits_per_token": point.bits_per_token,
                "chosen": point.margin == result.chosen.margin,
            }
            for point in result.trade_off
        ],
        "more_traffic": {
            "attack": "uniform over the admissible set",
            "alarm_level": RUN_ALARM_LEVEL,
            "rows": [
                {
                    "multiple": _finite(one.multiple),
                    "honest_tokens": _finite(one.honest_tokens),
                    "growth_nats_per_token": one.nats_per_token,
                    "audited_tokens_to_alarm": _finite(one.tokens_to_alarm),
                }
                for one in result.growth
            ],
        },
    }


def exact_json(policy: ExactPolicy) -> dict[str, Any]:
    """The result of exact calibration as JSON."""
    return {"exact": True, "warnings": [], "check": policy.check.model_dump()}


def _finite(value: float) -> float | None:
    """The value; None where it is infinite."""
    return value if isfinite(value) else None


def _seen(one: TrafficGrowth) -> str:
    """The time of the alarm, in words."""
    tokens = _rounded(one.tokens_to_alarm)
    return f"after about {tokens} audited tokens" if isfinite(one.tokens_to_alarm) else tokens


def _rounded(tokens: float) -> str:
    """A number of tokens to two digits, or "never"."""
    return f"{float(f'{tokens:.2g}'):,.0f}" if isfinite(tokens) else "never"
