"""The command `verify log mark`, which makes a log's mark anew."""

from pathlib import Path

import click

from weightwarden.cli.commands.log.importing import read_signers
from weightwarden.cli.commands.log.options import log_option, mark_option
from weightwarden.cli.options.shared import SIGNING_KEY_OPTION
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.store.mark import MarkFile
from weightwarden.logger.store.mark import mark_path as mark_beside
from weightwarden.logger.store.reader import LogReader


@click.command()
@log_option
@SIGNING_KEY_OPTION
@mark_option
def mark(log_url: str, signing_key_paths: tuple[Path, ...], mark_path: Path | None) -> None:
    """Make a log's mark anew from its database as it is. Use it only when the mark is lost.

    The mark exposes an old copy of the database. If the mark is lost and this database is an old copy, a mark made from
    it lets the log continue as a second history, signed with the same key (a fork). An existing mark is not replaced.
    """
    signers = read_signers(signing_key_paths)
    origin = signers[0].name
    file = MarkFile(mark_path or mark_beside(signing_key_paths[0], origin), origin)
    if file.read() is not None:
        raise KeyFileError(f"{file.path}: the mark is there, and is not replaced")
    reader = LogReader(log_url)
    if reader.origin != origin:
        raise KeyFileError(f"this log is {reader.origin}; a key that signs it has that name")
    made = file.renew(reader)
    click.echo(f"{file.path}: {made.checkpoint.size} records and {made.start} starts of {origin}")
