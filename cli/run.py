"""`verify run`: verify recorded traffic under a policy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import exit_codes
from cli.files import check_against_model, check_against_policy, check_writable, read_all_traffic
from cli.options import ReplayOptions, replay_options, traffic_argument
from cli.replayers import load_replayer
from cli.reports.json import json_report
from cli.reports.summary import text_summary
from cli.verifying import verify_with_progress, write_reports
from logger.placed import PlacedRecord
from sampler.errors import WeightwardenError
from verifier.audit import read_audit_key, select_records, traffic_root
from verifier.policy_file import read_policy
from verifier.verification import Verifier


class UnsignedTraffic(WeightwardenError):
    """Traffic files carry no signature, and were not accepted as such."""


@click.command()
@traffic_argument
@replay_options
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="P",
    help="Policy file that `verify calibrate` wrote for this model, scheme and dtype.",
)
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
    help="The server's context length, where lower than the model's: answers may end there.",
)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    traffic: tuple[Path, ...],
    policy_path: Path,
    unsafe_unsigned: bool,
    json_path: Path | None,
    html_path: Path | None,
    rate: float | None,
    key_path: Path | None,
    max_model_len: int | None,
    **replay: Any,
) -> None:
    """Replay the records of TRAFFIC on a trusted model and judge their tokens, their ends, and the run.

    With --replay vllm the replayer is a trusted vLLM server (`verify vllm start`); with an exact policy one token that
    it would not have drawn flags its record.

    Exit code 0: clear. 1: alarm, more than an honest run would show with probability 1e-4. 2: error, nothing verified.
    """
    if not unsafe_unsigned:
        raise UnsignedTraffic(
            "traffic files are unsigned: whoever wrote them could have written anything;"
            " pass --unsafe-unsigned if you trust how they came here"
        )
    if (rate is None) != (key_path is None):
        raise click.UsageError("--sample and --audit-key go together")
    to_stdout = json_path is not None and str(json_path) == "-"
    check_writable(None if to_stdout else json_path, html_path)
    policy = read_policy(policy_path)
    placed = read_all_traffic(traffic)
    indices = _audited(traffic, placed, rate, key_path)

    replayer = load_replayer(ReplayOptions(**replay), policy, exact=policy.exact)
    ctx.call_on_close(replayer.close)
    check_against_model(placed, replayer.identity)
    verifier = Verifier(replayer, policy, max_model_len)
    check_against_policy([placed[i] for i in indices], verifier)
    click.echo("Warning: the traffic is unsigned; its seeds and token ids are taken on trust.", err=True)
    context = verify_with_progress(verifier, replayer, placed, indices, rate)
    write_reports(context, None if to_stdout else json_path, html_path)
    click.echo(json_report(context) if to_stdout else text_summary(context), nl=not to_stdout)
    ctx.exit(exit_codes.ALARM if context.verification.alarm else exit_codes.CLEAR)


def _audited(
    traffic: tuple[Path, ...], placed: list[PlacedRecord], rate: float | None, key_path: Path | None
) -> Sequence[int]:
    """Indices of the records that are verified: all, or those that the auditor's key selects."""
    if rate is None or key_path is None:
        return range(len(placed))
    return select_records(read_audit_key(key_path), traffic_root(traffic), len(placed), rate)
