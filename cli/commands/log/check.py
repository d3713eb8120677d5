"""The command `verify log check`, which checks that archives hold the log."""

import json
from pathlib import Path

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.log.options import archives_argument
from weightwarden.cli.options.quorum import described, quorum_of, quorum_options
from weightwarden.cli.options.shared import public_key_option
from weightwarden.cli.progress import counter
from weightwarden.logger.archive.check import LogCheck, check_archives
from weightwarden.logger.archive.seen import advance_seen, read_seen
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable


@click.command()
@archives_argument
@public_key_option(required=True)
@click.option(
    "--seen",
    "seen_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the last checkpoint that you saw. A missing file is made; it is advanced when all checks pass.",
)
@quorum_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    archives: tuple[str, ...],
    public_key_path: Path,
    seen_path: Path | None,
    witness_key_path: Path | None,
    min_witnesses: int | None,
    as_json: bool,
) -> None:
    """Check that archives hold the log: no record removed, changed, reordered, added or forked.

    ARCHIVE is a file, a folder of archives, or an fsspec URL. Every leaf and root is recomputed. Only --seen can
    show that the log was not cut off or rolled back. Keep that file where the log's operator cannot reach it. With
    --witness-key, listed witnesses must have cosigned the newest archive: they cosign one history of a log.

    Exit code 0: all checks passed. 1: findings, which are listed. 2: error, and no result.
    """
    keys = PublicKeys.read(public_key_path)
    quorum = quorum_of(witness_key_path, min_witnesses)
    seen = read_seen(seen_path, keys) if seen_path is not None and seen_path.exists() else None
    urls = archive_urls(archives)
    with counter("Records checked") as progress:
        found = check_archives(urls, keys, seen, progress=progress, quorum=quorum)
    click.echo(_as_json(found, seen) if as_json else _as_text(found, seen, seen_path, quorum))
    if not found.holds:
        ctx.exit(exit_codes.ALARM)
    newest = max(found.archives, key=lambda archive: archive.end)
    if seen_path is not None:
        advance_seen(seen_path, newest, keys)
    ctx.exit(exit_codes.CLEAR)


def _as_text(found: LogCheck, seen: Checkpoint | None, seen_path: Path | None, quorum: Quorum | None) -> str:
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
    if seen is not None:
        lines.append(f"  seen     extends the {seen.size} records that {seen_path} saw")
    elif seen_path is not None:
        lines.append(f"  seen     none yet; {seen_path} is made")
    else:
        lines.append("  seen     none: whether the log was cut off at the end cannot be told")
    if quorum is not None:
        lines.append(f"  quorum   {len(found.cosignatures)} of {len(quorum.witnesses)} witnesses cosigned the root:")
        lines += [f"           {described(one)}" for one in found.cosignatures]
    lines += [f"  note     {extension}" for extension in newest.extensions]
    return "\n".join(lines)


def _as_json(found: LogCheck, seen: Checkpoint | None) -> str:
    newest = found.newest
    report = {
        "format": "weightwarden-log-check/1",
        "holds": found.holds,
        "origin": newest.origin if newest else None,
        "size": newest.size if newest else None,
        "root": newest.root.hex() if newest else None,
        "records": found.records,
        "seen_size": seen.size if seen else None,
        "cosignatures": [{"witness": c.witness.name, "time": c.time} for c in found.cosignatures],
        "archives": [{"url": a.url, "start": a.start, "end": a.end} for a in found.archives],
        "findings": [{"kind": f.kind, "where": f.where, "what": f.what} for f in found.findings],
    }
    return json.dumps(report, indent=2)
