"""The command `sidecar openapi`, which prints the description of the HTTP interface."""

import json

import click

from weightwarden.extras import needs_extra


@click.command()
def openapi() -> None:
    """Print the OpenAPI description of the sidecar's HTTP interface, as JSON."""
    with needs_extra("server"):
        from weightwarden.logger.sidecar.wire.openapi import description
    click.echo(json.dumps(description(), indent=2))
