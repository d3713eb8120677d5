"""The `sidecar` command."""

import click

from weightwarden.cli.groups import ExitCodeGroup
from weightwarden.cli.sidecar.doctor import doctor
from weightwarden.cli.sidecar.key import key
from weightwarden.cli.sidecar.openapi import openapi
from weightwarden.cli.sidecar.recover import recover
from weightwarden.cli.sidecar.run import run


class _Group(ExitCodeGroup):
    interrupted = "Interrupted."


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="weightwarden", prog_name="sidecar")
def sidecar() -> None:
    """Log every answer of an inference server before the client gets it."""


for command in (run, doctor, key, recover, openapi):
    sidecar.add_command(command)
