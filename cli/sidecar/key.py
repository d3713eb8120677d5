"""The command `sidecar key`, which makes a seed key."""

import secrets
from pathlib import Path

import click

from weightwarden.extras import needs_extra


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def key(path: Path) -> None:
    """Make a seed key in a new FILE.

    With the key, all seeds can be predicted: keep it on the sidecar's host, readable by its user alone. The log's
    signing key is a different one (`verify log key new`).
    """
    with needs_extra("server"):
        from weightwarden.logger.sidecar.log.seeds import write_seed_key
    write_seed_key(path, secrets.token_bytes)
    click.echo(f"{path}: a seed key, secret")
