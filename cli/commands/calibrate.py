"""The command `verify calibrate`, which makes a policy from honest traffic."""

from math import log2
from pathlib import Path
from typing import Any

import click
import numpy as np

from weightwarden.cli.options.quorum import quorum_of, quorum_options
from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.run_input import read_input, sample_of
from weightwarden.cli.options.shared import (
    CONTEXT_OPTION,
    SEEN_OPTION,
    ReplayOptions,
    public_key_option,
    replay_options,
    sample_options,
)
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import check_writable, write_text
from weightwarden.verifier.calibration.exact import calibrate_exact
from weightwarden.verifier.calibration.fit import CalibrationResult
from weightwarden.verifier.calibration.fit import calibrate as calibrate_policy
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.scoring.token_scores import gumbel_likelihood_score
from weightwarden.verifier.statistics.sampling_design import AuditBy
from weightwarden.verifier.verification.compatibility import check_against_model


@click.command()
@click.argument("traffic", nargs=-1, required=True, metavar="TRAFFIC_OR_ARCHIVE...")
@replay_options
@CONTEXT_OPTION
@public_key_option(required=False)
@SEEN_OPTION
@quorum_options
@sample_options
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Policy file to write.")
@click.option(
    "--exact",
    is_flag=True,
    help="Make a policy for exact replay (tolerance zero, up to ties). Fails if a token differs.",
)
@click.option(
    "--max-dangerous-rate",
    metavar="RATE",
    type=click.FloatRange(0, 1),
    default=1e-4,
    show_default=True,
    help="Largest share of honest tokens that may be dangerous.",
)
@click.option(
    "--max-unsafe-rate",
    metavar="RATE",
    type=click.FloatRange(0, 1),
    default=1e-3,
    show_default=True,
    help="Largest share of honest tokens beyond the tolerance (suspicious or dangerous).",
)
@click.option(
    "--split-seed",
    metavar="SEED",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the split into halves.",
)
def calibrate(
    traffic: tuple[str, ...],
    public_key_path: Path | None,
    seen_path: Path | None,
    witness_key_path: Path | None,
    min_witnesses: int | None,
    rate: float | None,
    key_path: Path | None,
    audit_by: AuditBy,
    out: Path,
    exact: bool,
    max_dangerous_rate: float,
    max_unsafe_rate: float,
    split_seed: int,
    **replay: Any,
) -> None:
    """Choose tolerance and token noise on one half of honest TRAFFIC, measure them on the other, and write a policy.

    With --exact (and --replayer vllm) nothing is fitted: every token must replay exactly, up to ties. Otherwise no
    policy is written, and the differing positions are listed. First the server is tested (seconds): its results alone
    and among other requests must be equal. TRAFFIC should hold answers that were requested one after the other, and
    many at a time.

    The traffic must be known to be honest: a policy made from an attacker's traffic lets that attacker pass. With
    --public-key the arguments are archives of one log, which are checked as in `verify run`.
    """
    check_writable(out)
    given = read_input(
        traffic,
        public_key_path,
        seen_path,
        sample_of(rate, key_path, audit_by),
        quorum_of(witness_key_path, min_witnesses),
        unsigned=True,
    )
    placed = [item for item in given.placed() if item.record.output_token_ids]
    if exact and replay["implementation"] != "vllm":
        raise click.UsageError("--exact requires the server's own engine: --replayer vllm with --replay-url")
    replayer = load_replayer(ReplayOptions(**replay), exact=exact)
    click.get_current_context().call_on_close(replayer.close)
    check_against_model(placed, replayer.identity)
    records = [item.record for item in placed]
    digests = given.digests
    with progress_bar(sum(len(r.output_token_ids) for r in records), "Replaying tokens") as progress:
        if exact:
            names = [item.short_place for item in placed]
            checked = calibrate_exact(replayer, records, names, traffic_digests=digests, progress=progress)
            policy: BasePolicy = checked
            summary, warnings = exact_summary(checked, replayer.identity.vocabulary), []
        else:
            limits = CalibrationLimits(
                max_dangerous_rate=max_dangerous_rate, max_unsafe_rate=max_unsafe_rate, split_seed=split_seed
            )
            result = calibrate_policy(replayer, records, limits, traffic_digests=digests, progress=progress)
            policy, warnings = result.policy, result.warnings
            summary = trade_off_table(result, replayer.identity.vocabulary)
    policy = policy.with_context(replay["max_model_len"])
    write_text(out, policy.to_toml(), public=True)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(summary)
    click.echo(f"\n{out}: {policy.digest()}")


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
        ]
    )


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
