"""`verify run`: verify recorded traffic under a policy."""

from pathlib import Path
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.executor import ExecutorOptions, executor_options, open_executor
from weightwarden.cli.options.run_input import read_input, sample_of
from weightwarden.cli.options.shared import (
    WITNESS_OPTION,
    ReplayOptions,
    public_key_option,
    replay_options,
    sample_options,
)
from weightwarden.cli.reports.json import json_report
from weightwarden.cli.reports.summary import text_summary
from weightwarden.cli.verify_and_report import verify_with_progress, write_reports
from weightwarden.logger.files.output import check_writable
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.verification.compatibility import check_against_model, check_against_policy

_EXIT_CODES = {"alarm": exit_codes.ALARM, "incomplete": exit_codes.ERROR, "clear": exit_codes.CLEAR}


@click.command()
@click.argument("traffic", nargs=-1, required=True, metavar="TRAFFIC_OR_ARCHIVE...")
@replay_options
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="P",
    help="Policy file that `verify calibrate` wrote for this model, scheme and dtype.",
)
@public_key_option(required=False)
@WITNESS_OPTION
@click.option(
    "--unsafe-unsigned",
    is_flag=True,
    help="Accept traffic files, which anybody could have written or edited.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="F",
    help="Write a JSON report; - for standard output, without the summary.",
)
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path), metavar="F", help="Write a self-contained HTML report."
)
@sample_options
@click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="N",
    help="The server's context length, where it was started with one. Default: the policy's, or what vLLM takes.",
)
@executor_options
@click.pass_context
def run(
    ctx: click.Context,
    /,
    traffic: tuple[str, ...],
    policy_path: Path,
    public_key_path: Path | None,
    witness_path: Path | None,
    unsafe_unsigned: bool,
    json_path: Path | None,
    html_path: Path | None,
    rate: float | None,
    key_path: Path | None,
    max_model_len: int | None,
    **more: Any,
) -> None:
    """Replay the records of a log on a trusted model and judge their tokens, their ends, and the run.

    With --public-key the arguments are archives of one log (or folders of them, or URLs). They are checked first,
    against each other and, with --witness, against what you saw before; `verify log check` says more. Without it they
    are traffic files, which nobody vouches for: --unsafe-unsigned.

    With --replayer vllm the replayer is a trusted vLLM server (`verify vllm start`); with an exact policy one token
    that it would not have drawn flags its record.

    With --executor ray the records are replayed by workers on a cluster, or on this machine; the report is the same.

    Exit code 0: clear. 1: alarm, more than an honest run would show with probability 1e-4. 2: error, nothing verified;
    or no alarm, and records without a verdict: they ended the workers that replayed them, or their requests leave no
    definite token. They are listed, and charged in full; the figures of all others stand.
    """
    audit = sample_of(rate, key_path)
    to_stdout = json_path is not None and str(json_path) == "-"
    if public_key_path is not None and unsafe_unsigned:
        raise click.UsageError("--public-key or --unsafe-unsigned, not both")
    check_writable(None if to_stdout else json_path, html_path)
    policy = read_policy(policy_path)
    given = read_input(traffic, public_key_path, witness_path, audit, unsigned=unsafe_unsigned)

    options, replay = ExecutorOptions.taken(more)
    executor = open_executor(options, ReplayOptions(**replay), policy, max_model_len)
    ctx.call_on_close(executor.close)
    check_against_model(given.boundary, executor.replayer.identity)
    check_against_policy(given.boundary, policy)
    if given.warning is not None:
        click.echo(f"Warning: {given.warning}", err=True)
    context = verify_with_progress(executor, given)
    write_reports(context, None if to_stdout else json_path, html_path)
    click.echo(json_report(context) if to_stdout else text_summary(context), nl=not to_stdout)
    ctx.exit(_EXIT_CODES[context.verdict])
