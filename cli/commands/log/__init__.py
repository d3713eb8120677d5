"""The commands `verify log` for the tamper-evident log and its archives."""

import click

from weightwarden.cli.commands.log.check import check
from weightwarden.cli.commands.log.find import find
from weightwarden.cli.commands.log.importing import import_traffic
from weightwarden.cli.commands.log.key import key
from weightwarden.cli.commands.log.mark import mark
from weightwarden.cli.commands.log.move import move
from weightwarden.cli.commands.log.prove import prove
from weightwarden.cli.commands.log.rollover import rollover
from weightwarden.cli.commands.log.seal import seal
from weightwarden.cli.commands.log.show import show
from weightwarden.cli.commands.log.size import size
from weightwarden.cli.commands.log.verify_proof import verify_proof


@click.group()
def log() -> None:
    """Check, show and make archives of the tamper-evident log."""


for command in (check, show, find, seal, rollover, move, size, prove, verify_proof, import_traffic, key, mark):
    log.add_command(command)
