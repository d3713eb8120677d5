"""`sidecar key`: the key that seeds are made with."""

import secrets
from pathlib import Path

import click

from weightwarden.verifier.extras import needs_extra


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="F")
def key(path: Path) -> None:
    """Make a seed key in a new file F.

    Whoever has it can foretell seeds: it stays on the sidecar's host, readable by its user alone. The key that signs
    the log is another one (`verify log key new`).
    """
    with needs_extra("server"):
        from weightwarden.logger.sidecar.log.seeds import write_seed_key
    write_seed_key(path, secrets.token_bytes)
    click.echo(f"{path}: a seed key, secret")
