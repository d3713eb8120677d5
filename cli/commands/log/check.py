"""The command `verify log check`, which checks that archives hold the log."""

import json
from pathlib import Path

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.log.options import archives_argument
from weightwarden.cli.options.shared import public_key_option
from weightwarden.cli.progress import counter
from weightwarden.logger.archive.check import LogCheck, check_archives
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.archive.witness import advance_witness, read_witness
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable


@click.command()
@archives_argument
@public_key_option(required=True)
@click.option(
    "--witness",
    "witness_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the last checkpoint that you saw. A missing file is made; it is advanced when all checks pass.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    archives: tuple[str, ...],
    public_key_path: Path,
    witness_path: Path | None,
    as_json: bool,
) -> None:
    """Check that archives hold the log: no record removed, changed, reordered, added or forked.

    ARCHIVE is a file, a folder of archives, or an fsspec URL. Every leaf and root is recomputed. Only --witness can
    show that the log was not cut off or rolled back. Keep the witness file where the log's operator cannot reach it.

    Exit code 0: all checks passed. 1: findings, which are listed. 2: error, and no result.
    """
    keys = PublicKeys.read(public_key_path)
    witness = read_witness(witness_path, keys) if witness_path is not None and witness_path.exists() else None
    urls = archive_urls(archives)
    with counter("Records checked") as progress:
        found = check_archives(urls, keys, witness, progress=progress)
    click.echo(_as_json(found, witness) if as_json else _as_text(found, witness, witness_path))
    if not found.holds:
        ctx.exit(exit_codes.ALARM)
    newest = max(found.archives, key=lambda archive: archive.end)
    if witness_path is not None:
        advance_witness(witness_path, newest, keys)
    ctx.exit(exit_codes.CLEAR)


def _as_text(found: LogCheck, witness: Checkpoint | None, witness_path: Path | None) -> str:
    if not found.holds:
        lines = ["The log does NOT hold:", ""]
        lines += [
            f"  {finding.kind.upper():<10} {printable(finding.where)}: {finding.what}" for finding in found.findings
        ]
        return "\n".join(lines)
    newest = found.newest
    assert newest is not None  # without findings there is a valid archive
    lines = [
        f"Holds: records {found.archives[0].start} to {newest.size - 1} of {newest.origin},"
        f" in {len(found.archives)} archive{'s' if len(found.archives) > 1 else ''}.",
        "",
        f"  root     {newest.root.hex()}",
    ]
    if witness is not None:
        lines.append(f"  witness  extends the {witness.size} records that {witness_path} saw")
    elif witness_path is not None:
        lines.append(f"  witness  none yet; {witness_path} is made")
    else:
        lines.append("  witness  none: whether the log was cut off at the end cannot be told")
    lines += [f"  note     {extension}" for extension in newest.extensions]
    return "\n".join(lines)


def _as_json(found: LogCheck, witness: Checkpoint | None) -> str:
    newest = found.newest
    report = {
        "format": "weightwarden-log-check/1",
        "holds": found.holds,
        "origin": newest.origin if newest else None,
        "size": newest.size if newest else None,
        "root": newest.root.hex() if newest else None,
        "records": found.records,
        "witness_size": witness.size if witness else None,
        "archives": [{"url": a.url, "start": a.start, "end": a.end} for a in found.archives],
        "findings": [{"kind": f.kind, "where": f.where, "what": f.what} for f in found.findings],
    }
    return json.dumps(report, indent=2)
