"""The command `verify log move`, which moves older archives to another store."""

from pathlib import Path

import click

from weightwarden.cli.options.shared import public_key_option
from weightwarden.logger.archive.moving import move_archives
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable


@click.command()
@click.argument("source", metavar="FOLDER")
@click.option(
    "--to", "target", required=True, metavar="URL", help="Folder to move to: a path or fsspec URL. It must exist."
)
@public_key_option(required=True)
@click.option(
    "--keep",
    type=click.IntRange(1),
    required=True,
    metavar="ARCHIVES",
    help="Number of newest archives that stay in FOLDER: at least those that the verification server has not audited.",
)
def move(source: str, target: str, public_key_path: Path, keep: int) -> None:
    """Move older archives, with their companions, from FOLDER to another store.

    A file is removed from FOLDER once its copy was read back with the same bytes and a valid seal. After an
    interruption, the next call continues. Other commands take both folders: `verify log check FOLDER URL`.
    """

    def moved(archive: Archive) -> None:
        click.echo(f"{printable(archive.url)}: records {archive.start} to {archive.end - 1}")

    if not move_archives(source, target, PublicKeys.read(public_key_path), keep=keep, moved=moved):
        click.echo("Nothing to move.")
