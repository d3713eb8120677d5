"""The command `sidecar recover`, which makes records of a crashed sidecar's drafts without serving."""

from pathlib import Path

import click

from weightwarden.cli.options.shared import SIGNING_KEY_OPTION
from weightwarden.extras import needs_extra
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.keys import SigningKey


@click.command()
@click.option(
    "--log", "log_url", required=True, metavar="URL", help="Database of the log: a path (SQLite), or postgresql://..."
)
@SIGNING_KEY_OPTION
def recover(log_url: str, signing_key_paths: tuple[Path, ...]) -> None:
    """Make records of the answers that a crashed sidecar left unfinished.

    `sidecar run` does this when it starts. Use this command for a sidecar that does not start again. No sidecar may be
    running on this log.
    """
    with needs_extra("server"):
        from weightwarden.logger.sidecar.log.recorder import recover as recover_log
    origin = SigningKey.read(signing_key_paths[0]).name
    with LogWriter.open(log_url, origin=origin) as log:
        recovered = recover_log(log)
        click.echo(f"{recovered} answers recovered; the log has {log.size} records")
