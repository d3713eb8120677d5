"""`sidecar openapi`: the description of the sidecar's HTTP interface."""

import json

import click

from weightwarden.cli.options.optional_dependencies import server_extra


@click.command()
def openapi() -> None:
    """Print the OpenAPI description of what the sidecar serves, as JSON."""
    with server_extra():
        from weightwarden.logger.sidecar.wire.openapi import description
    click.echo(json.dumps(description(), indent=2))
