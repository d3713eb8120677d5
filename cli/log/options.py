"""The argument that the log commands share."""

import click

archives_argument = click.argument("archives", nargs=-1, required=True, metavar="ARCHIVE...")
