"""Arguments and options that the log commands share."""

from pathlib import Path

import click

archives_argument = click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...")
signing_key_option = click.option(
    "--signing-key",
    "signing_key_paths",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    metavar="F",
    help="File with the log's signing key (`verify log key new`); give the old and the new one while keys rotate.",
)
