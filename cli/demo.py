"""`verify demo`: the embedded model on bundled traffic, honest and tampered, under the bundled policy."""

import json
from importlib.resources import as_file, files
from pathlib import Path

import click

from cli.files import check_against_model, check_writable, read_all_traffic, write_whole
from cli.options import load_replayer
from cli.progress import progress_bar
from cli.reports.context import RunContext
from cli.reports.html import html_report
from cli.reports.json import json_report
from cli.reports.summary import text_summary
from verifier.policy import read_policy
from verifier.verification import Verifier

UNEXPECTED = 1


@click.command()
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path), metavar="F", help="Write a self-contained HTML report."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="F", help="Write a JSON report.")
@click.pass_context
def demo(ctx: click.Context, html_path: Path | None, json_path: Path | None) -> None:
    """Verify bundled answers of a real vLLM server, some honest and some tampered with.

    Exit code 0 when every tampered record is flagged and no honest one is, else 1.
    """
    check_writable(html_path, json_path)
    with as_file(files("cli") / "bundled") as bundled:
        policy = read_policy(bundled / "policy.toml")
        placed = read_all_traffic([bundled / "honest.jsonl", bundled / "tampered.jsonl"])
        attacks: list[str] = json.loads((bundled / "attacks.json").read_text(encoding="utf-8"))
    honest = len(placed) - len(attacks)

    replayer = load_replayer(None, policy.made_for.dtype, None, None)
    check_against_model(placed, replayer.identity)
    click.echo(f"Replaying {honest} honest and {len(attacks)} tampered answers of a vLLM server ...", err=True)
    verifier = Verifier(replayer, policy)
    with progress_bar(sum(len(p.record.output_token_ids) for p in placed), "Replaying tokens") as verifier.progress:
        verification = verifier.verify([p.record for p in placed])
    context = RunContext(
        verification=verification,
        policy=policy,
        placed=placed,
        indices=range(len(placed)),
        records_in_all=len(placed),
        audit_rate=None,
        model_path=str(replayer.identity.path),
        model_digest=replayer.identity.digest,
        dtype=replayer.dtype,
        device=replayer.device,
        tokenizer=replayer.tokenizer,
    )
    if html_path is not None:
        write_whole(html_path, html_report(context))
    if json_path is not None:
        write_whole(json_path, json_report(context))
    click.echo(text_summary(context))

    named = [verification.records[honest + i].flagged for i in range(len(attacks))]
    wronged = [record.index for record in verification.records[:honest] if record.flagged]
    click.echo("\nWhat was done to the tampered records, and whether they were named:\n")
    for i, (attack, flagged) in enumerate(zip(attacks, named, strict=True)):
        click.echo(f"  record {honest + i}  {attack:<30} {'named' if flagged else 'MISSED'}")
    click.echo(
        f"\n{honest - len(wronged)} of {honest} honest records cleared, {sum(named)} of {len(named)} tampered named."
    )
    if html_path is not None:
        click.echo(f"Report: {html_path}")
    ctx.exit(0 if all(named) and not wronged else UNEXPECTED)
