"""The command `verify calibrate`, which makes a policy from honest traffic."""

import json
from pathlib import Path
from typing import Any

import click

from weightwarden.cli.options.engine_profile import ENGINE_PROFILE_OPTION
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
from weightwarden.cli.reports.calibration import (
    calibrated_json,
    calibrated_summary,
    exact_json,
    exact_summary,
)
from weightwarden.logger.engine_profile import EngineProfile
from weightwarden.logger.files.output import check_writable, write_text
from weightwarden.verifier.calibration.exact import calibrate_exact
from weightwarden.verifier.calibration.fit import calibrate as calibrate_policy
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.statistics.sampling_design import AuditBy
from weightwarden.verifier.verification.compatibility import check_against_model, check_against_profile


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
@click.option(
    "--unlisted-engine",
    is_flag=True,
    help="Calibrate although the scheme was not compared with the records' engine and version. The policy says so.",
)
@ENGINE_PROFILE_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON. Field names contain the units.")
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
    unlisted_engine: bool,
    profile_path: Path | None,
    as_json: bool,
    **replay: Any,
) -> None:
    """Choose tolerance and token noise on one half of honest TRAFFIC, measure them on the other, and write a policy.

    With --exact (and --replayer vllm) nothing is fitted: every token must replay exactly, up to ties. Otherwise no
    policy is written, and the differing positions are listed. First the server is tested (seconds): its results alone
    and among other requests must be equal. TRAFFIC should hold answers that were requested one after the other, and
    many at a time.

    The traffic must be known to be honest: a policy made from an attacker's traffic lets that attacker pass. With
    --public-key the arguments are archives of one log, which are checked as in `verify run`.

    If the records name an engine profile, then they must all name the same one, and the policy holds for records that
    name it and for no others.
    """
    check_writable(out)
    profile = None if profile_path is None else EngineProfile.read(profile_path)
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
    if profile is not None:
        check_against_profile(placed, profile, str(profile_path))
    records = [item.record for item in placed]
    digests, vocabulary = given.digests, replayer.identity.vocabulary
    with progress_bar(sum(len(r.output_token_ids) for r in records), "Replaying tokens") as progress:
        if exact:
            names = [item.short_place for item in placed]
            checked = calibrate_exact(
                replayer,
                records,
                names,
                traffic_digests=digests,
                unlisted_engine=unlisted_engine,
                progress=progress,
            )
            policy: BasePolicy = checked
            warnings: list[str] = []
            summary, found = exact_summary(checked, vocabulary), exact_json(checked)
        else:
            limits = CalibrationLimits(
                max_dangerous_rate=max_dangerous_rate, max_unsafe_rate=max_unsafe_rate, split_seed=split_seed
            )
            result = calibrate_policy(
                replayer,
                records,
                limits,
                traffic_digests=digests,
                unlisted_engine=unlisted_engine,
                progress=progress,
            )
            policy, warnings = result.policy, result.warnings
            summary, found = calibrated_summary(result, vocabulary), calibrated_json(result)
    policy = policy.with_context(replay["max_model_len"])
    write_text(out, policy.to_toml(), public=True)
    for warning in (*warnings, *policy.warnings(records)):
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        made = {"policy": str(out), "policy_digest": policy.digest(), "engine_profile": policy.made_for.profile}
        shown = {} if profile is None else {"engine_profile_contents": profile.contents()}
        click.echo(json.dumps({**made, **shown, **found}, indent=2))
        return
    click.echo(summary)
    profile_named = "" if policy.made_for.profile is None else f", for engine profile {policy.made_for.profile}"
    click.echo(f"\n{out}: {policy.digest()}{profile_named}")
