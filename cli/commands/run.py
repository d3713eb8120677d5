"""The command `verify run`, which verifies recorded traffic under a policy."""

from pathlib import Path
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.engine_profile import ENGINE_PROFILE_OPTION
from weightwarden.cli.options.executor import ExecutorOptions, executor_options, open_executor
from weightwarden.cli.options.quorum import quorum_of, quorum_options
from weightwarden.cli.options.run_input import read_input, sample_of
from weightwarden.cli.options.shared import (
    SEEN_OPTION,
    ReplayOptions,
    public_key_option,
    replay_options,
    sample_options,
)
from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.cli.reports.json import json_report
from weightwarden.cli.reports.summary import text_summary
from weightwarden.cli.verify_and_report import verify_and_report
from weightwarden.logger.engine_profile import EngineProfile
from weightwarden.logger.files.output import check_writable
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.statistics.sampling_design import AuditBy
from weightwarden.verifier.verification.compatibility import (
    check_against_model,
    check_against_policy,
    check_against_profile,
)
from weightwarden.verifier.verification.run import RunVerdict

_EXIT_CODES: dict[RunVerdict, int] = {
    "alarm": exit_codes.ALARM,
    "incomplete": exit_codes.ERROR,
    "inconclusive": exit_codes.ERROR,
    "clear": exit_codes.CLEAR,
}


@click.command()
@click.argument("traffic", nargs=-1, required=True, metavar="TRAFFIC_OR_ARCHIVE...")
@replay_options
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Policy file, made by `verify calibrate` for this model, scheme and dtype.",
)
@public_key_option(required=False)
@SEEN_OPTION
@quorum_options
@click.option(
    "--unsafe-unsigned",
    is_flag=True,
    help="Accept traffic files, which are unsigned and can be forged.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write a JSON report to this file; - for standard output, instead of the summary.",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a self-contained HTML report to this file.",
)
@click.option(
    "--tokens",
    "tokens_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write scores and verdict of every token to this Parquet file, one row a token.",
)
@click.option(
    "--auditor",
    metavar="NAME",
    help="Name of the auditor, for the reports. It proves nothing; `verify report sign` signs.",
)
@sample_options
@click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="TOKENS",
    help="Context length of the inference server, in tokens, if set. Default: the policy's, or vLLM's.",
)
@ENGINE_PROFILE_OPTION
@executor_options
@click.pass_context
def run(
    ctx: click.Context,
    /,
    traffic: tuple[str, ...],
    policy_path: Path,
    public_key_path: Path | None,
    seen_path: Path | None,
    witness_key_path: Path | None,
    min_witnesses: int | None,
    unsafe_unsigned: bool,
    json_path: Path | None,
    html_path: Path | None,
    tokens_path: Path | None,
    auditor: str | None,
    rate: float | None,
    key_path: Path | None,
    audit_by: AuditBy,
    max_model_len: int | None,
    profile_path: Path | None,
    **more: Any,
) -> None:
    """Replay the records of a log on a trusted model, and judge their tokens, their ends, and the run.

    With --public-key the arguments are archives of one log (files, folders, or URLs). They are checked first, against
    each other and, with --seen, against the checkpoint you saw before; `verify log check` shows more. Without it
    they are traffic files, which are unsigned and need --unsafe-unsigned.

    With --replayer vllm the replayer is a trusted vLLM server (`verify vllm start`). With an exact policy, one token
    that this server would not have drawn flags its record.

    With --executor ray, workers on a cluster or on this machine replay the records. The report is the same.

    Exit code 0: clear. 1: alarm (an honest run alarms with probability at most 1e-4). 2: error, incomplete or
    inconclusive. Incomplete: no alarm, but some records are unverifiable (they crashed their workers, or their requests
    leave no definite token). These are listed and charged in full; the figures of all other records are valid.
    Inconclusive: no alarm, but so few records of many were audited that no bound says anything about the others.
    """
    audit = sample_of(rate, key_path, audit_by)
    to_stdout = json_path is not None and str(json_path) == "-"
    if public_key_path is not None and unsafe_unsigned:
        raise click.UsageError("--public-key and --unsafe-unsigned exclude each other")
    check_writable(None if to_stdout else json_path, html_path, tokens_path)
    ReportIdentity.of(auditor=auditor)  # refuses an unfit name before the work
    policy = read_policy(policy_path)
    profile = None if profile_path is None else EngineProfile.read(profile_path)
    given = read_input(
        traffic,
        public_key_path,
        seen_path,
        audit,
        quorum_of(witness_key_path, min_witnesses),
        unsigned=unsafe_unsigned,
    )

    options, replay = ExecutorOptions.taken(more)
    executor = open_executor(options, ReplayOptions(**replay), policy, max_model_len)
    ctx.call_on_close(executor.close)
    check_against_model(given.boundary, executor.replayer.identity)
    check_against_policy(given.boundary, policy)
    if profile is not None:
        check_against_profile(given.boundary, profile, str(profile_path))
    warnings = policy.warnings(item.record for item in given.boundary)
    for warning in (*([] if given.warning is None else [given.warning]), *warnings):
        click.echo(f"Warning: {warning}", err=True)
    context, identity = verify_and_report(
        executor,
        given,
        lambda: ReportIdentity.of(policy_path, auditor, profile),
        json_path=None if to_stdout else json_path,
        html_path=html_path,
        tokens_path=tokens_path,
    )
    click.echo(json_report(context, identity) if to_stdout else text_summary(context), nl=not to_stdout)
    ctx.exit(_EXIT_CODES[context.verdict])
