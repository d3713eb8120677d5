"""`verify run`: verify recorded traffic under a policy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import exit_codes
from cli.engines import EngineOptions, engine_options, open_engine
from cli.files import check_against_model, check_against_policy, check_writable
from cli.inputs import Audit, Input, from_archives, from_traffic
from cli.options import WITNESS_OPTION, ReplayOptions, public_key_option, replay_options
from cli.reports.json import json_report
from cli.reports.summary import text_summary
from cli.verifying import verify_with_progress, write_reports
from cli.witness import read_witness
from logger.archive.storage import archive_urls
from logger.keys import PublicKeys
from sampler.errors import WeightwardenError
from verifier.policy_file import read_policy

_EXIT_CODES = {"alarm": exit_codes.ALARM, "incomplete": exit_codes.ERROR, "clear": exit_codes.CLEAR}


class UnsignedTraffic(WeightwardenError):
    """Traffic files carry no signature, and were not accepted as such."""


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
@click.option(
    "--sample",
    "rate",
    type=float,
    metavar="RATE",
    help="Audit this share of the records only, chosen with --audit-key.",
)
@click.option(
    "--audit-key",
    "key_path",
    type=click.Path(path_type=Path),
    metavar="F",
    help="File with the auditor's secret key (16 bytes or more).",
)
@click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="N",
    help="The server's context length, where it was started with one. Default: the policy's, or what vLLM takes.",
)
@engine_options
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

    With --replay vllm the replayer is a trusted vLLM server (`verify vllm start`); with an exact policy one token that
    it would not have drawn flags its record.

    With --engine ray the records are replayed by workers on a cluster, or on this machine; the report is the same.

    Exit code 0: clear. 1: alarm, more than an honest run would show with probability 1e-4. 2: error, nothing verified;
    or no alarm, and records without a verdict, since they ended the workers that replayed them.
    """
    if (rate is None) != (key_path is None):
        raise click.UsageError("--sample and --audit-key go together")
    to_stdout = json_path is not None and str(json_path) == "-"
    check_writable(None if to_stdout else json_path, html_path)
    policy = read_policy(policy_path)
    audit = Audit.of(rate, key_path)
    given = _input(traffic, public_key_path, witness_path, unsafe_unsigned, audit)

    options, replay = EngineOptions.taken(more)
    engine = open_engine(options, ReplayOptions(**replay), policy, max_model_len)
    ctx.call_on_close(engine.close)
    check_against_model(given.deciding, engine.replayer.identity)
    check_against_policy(given.deciding, policy)
    if given.warning is not None:
        click.echo(f"Warning: {given.warning}", err=True)
    context = verify_with_progress(engine, given)
    write_reports(context, None if to_stdout else json_path, html_path)
    click.echo(json_report(context) if to_stdout else text_summary(context), nl=not to_stdout)
    ctx.exit(_EXIT_CODES[context.verdict])


def _input(
    arguments: Sequence[str],
    public_key_path: Path | None,
    witness_path: Path | None,
    unsafe_unsigned: bool,
    audit: Audit | None,
) -> Input:
    """The records that the arguments hold, signed or not as the options say."""
    if public_key_path is not None:
        if unsafe_unsigned:
            raise click.UsageError("--public-key or --unsafe-unsigned, not both")
        keys = PublicKeys.read(public_key_path)
        witness = None if witness_path is None else read_witness(witness_path, keys)
        return from_archives(archive_urls(arguments), keys, witness, audit)
    if witness_path is not None:
        raise click.UsageError("--witness needs --public-key")
    if not unsafe_unsigned:
        raise UnsignedTraffic(
            "no --public-key: traffic files are unsigned, whoever wrote them could have written anything;"
            " pass --unsafe-unsigned if you trust how they came here, or archives of a log and --public-key"
        )
    return from_traffic([Path(argument) for argument in arguments], audit)
