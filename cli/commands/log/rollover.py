"""The command `verify log rollover`, which removes archived records from the live database."""

from pathlib import Path

import click

from weightwarden.cli.commands.log.options import log_option
from weightwarden.cli.options.shared import public_key_option
from weightwarden.logger.archive.seen import read_seen
from weightwarden.logger.rollover import roll_over
from weightwarden.logger.store.compaction import compact
from weightwarden.logger.tlog.keys import PublicKeys


@click.command()
@log_option
@click.option(
    "--archives",
    "folders",
    multiple=True,
    required=True,
    metavar="URL",
    help="Folder that holds archives: a path or fsspec URL. May be repeated.",
)
@public_key_option(required=True)
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    metavar="ARCHIVES",
    help="Number of newest archives whose records stay in the database too.",
)
@click.option(
    "--seen",
    "seen_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Remove only records under this checkpoint, which an auditor's `verify log check --seen` stored.",
)
@click.option(
    "--compact",
    "compacts",
    is_flag=True,
    help="Then rewrite the SQLite file without its free space. Needed once for a log from before version 0.2. The"
    " sidecar must be stopped, and the disk needs room for a second copy.",
)
def rollover(
    log_url: str, folders: tuple[str, ...], public_key_path: Path, keep: int, seen_path: Path | None, compacts: bool
) -> None:
    """Remove records from the live database that are in checked archives.

    Every archive is read first, and must lead to the root that the database has. If one is missing or differs, nothing
    is removed. The log's writer may be running. After an interruption, the next call continues. The sidecar does the
    same by itself with --keep-sealed.
    """
    keys = PublicKeys.read(public_key_path)
    seen = None if seen_path is None else read_seen(seen_path, keys)
    done = roll_over(log_url, folders, keys, keep=keep, seen=seen)
    click.echo(f"{done.removed} records removed. The present segment begins at record {done.start}.")
    if compacts:
        before, after = compact(log_url)
        click.echo(f"Compacted: {before} bytes before, {after} bytes now.")
