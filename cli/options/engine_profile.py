"""The option of an engine profile, whose contents a report shows."""

from pathlib import Path

import click

ENGINE_PROFILE_OPTION = click.option(
    "--engine-profile",
    "profile_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The engine profile that the records name, for the report: it then shows what answered.",
)
