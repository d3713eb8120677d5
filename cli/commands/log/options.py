"""Arguments and options of several log commands."""

from pathlib import Path

import click

archives_argument = click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...")

mark_option = click.option(
    "--mark",
    "mark_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the log's mark, which exposes an old copy of the log. Default: beside the first signing key.",
)

log_option = click.option(
    "--log", "log_url", required=True, metavar="URL", help="Database of the log: a path (SQLite), or postgresql://..."
)
