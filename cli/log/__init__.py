"""`verify log`: the tamper-evident log and its archives."""

import click

from cli.log.check import check
from cli.log.importing import import_traffic
from cli.log.key import key
from cli.log.mark import mark
from cli.log.prove import prove
from cli.log.seal import seal
from cli.log.show import show


@click.group()
def log() -> None:
    """Check, show and make archives of the tamper-evident log."""


for command in (check, show, seal, prove, import_traffic, key, mark):
    log.add_command(command)
