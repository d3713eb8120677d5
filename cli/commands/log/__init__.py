"""The commands `verify log` for the tamper-evident log and its archives."""

import click

from weightwarden.cli.commands.log.check import check
from weightwarden.cli.commands.log.importing import import_traffic
from weightwarden.cli.commands.log.key import key
from weightwarden.cli.commands.log.mark import mark
from weightwarden.cli.commands.log.prove import prove
from weightwarden.cli.commands.log.seal import seal
from weightwarden.cli.commands.log.show import show
from weightwarden.cli.commands.log.verify_proof import verify_proof


@click.group()
def log() -> None:
    """Check, show and make archives of the tamper-evident log."""


for command in (check, show, seal, prove, verify_proof, import_traffic, key, mark):
    log.add_command(command)
