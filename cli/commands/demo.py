"""The command `verify demo`: bundled honest and tampered traffic, the embedded model, and the bundled policy."""

import json
from importlib.resources import as_file, files
from pathlib import Path

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.cli.reports.summary import text_summary
from weightwarden.cli.verify_and_report import verify_and_report
from weightwarden.logger.files.output import check_writable
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.verification.compatibility import check_against_model
from weightwarden.verifier.verification.run_input import from_traffic
from weightwarden.verifier.verification.verifier import Verifier


@click.command()
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path), metavar="FILE", help="Write a self-contained HTML report."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write a JSON report.")
@click.pass_context
def demo(ctx: click.Context, html_path: Path | None, json_path: Path | None) -> None:
    """Verify bundled answers of a real vLLM server, some honest and some tampered with.

    Exit code 0: every tampered record is flagged, and no honest one. 1: otherwise.
    """
    check_writable(html_path, json_path)
    bundled = ctx.with_resource(as_file(files("weightwarden.cli") / "bundled"))
    policy = read_policy(bundled / "policy.toml")
    given = from_traffic([bundled / "honest.jsonl", bundled / "tampered.jsonl"])
    attacks: list[str] = json.loads((bundled / "attacks.json").read_text(encoding="utf-8"))
    honest = len(given.indices) - len(attacks)

    replayer = load_replayer(ReplayOptions(dtype=policy.made_for.dtype))
    check_against_model(given.boundary, replayer.identity)
    click.echo(f"Replaying {honest} honest and {len(attacks)} tampered answers of a vLLM server ...", err=True)
    context, _ = verify_and_report(
        Verifier(replayer, policy),
        given,
        lambda: ReportIdentity.of(bundled / "policy.toml"),
        json_path=json_path,
        html_path=html_path,
    )
    click.echo(text_summary(context))

    flagged_places = {record.place for record in context.verification.flagged}
    named = [honest + i in flagged_places for i in range(len(attacks))]
    wronged = [place for place in flagged_places if place < honest]
    click.echo("\nWhat was done to the tampered records, and whether they were named:\n")
    for i, (attack, flagged) in enumerate(zip(attacks, named, strict=True)):
        click.echo(f"  record {honest + i}  {attack:<30} {'named' if flagged else 'MISSED'}")
    click.echo(
        f"\n{honest - len(wronged)} of {honest} honest records cleared, {sum(named)} of {len(named)} tampered named."
    )
    if html_path is not None:
        click.echo(f"Report: {html_path}")
    ctx.exit(exit_codes.CLEAR if all(named) and not wronged else exit_codes.ALARM)
