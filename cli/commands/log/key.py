"""The commands `verify log key` for the keys that sign a log."""

from pathlib import Path

import click

from weightwarden.logger.files.output import check_writable, write_text
from weightwarden.logger.tlog.auditor_key import require_log
from weightwarden.logger.tlog.keys import SigningKey


@click.group()
def key() -> None:
    """Make and show the keys that sign a log."""


@key.command()
@click.argument("origin")
@click.option(
    "--out",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="File for the signing key. The public key is written to FILE.pub.",
)
def new(origin: str, path: Path) -> None:
    """Make a signing key for the log named ORIGIN, e.g. logs.example.org/cluster-7.

    Keep the signing key on the trusted logger's host, readable by its user alone. FILE.pub is for all who check the
    log. Send it to them on a way that the log's operator cannot reach.
    """
    require_log(origin)
    write_key_pair(origin, path)


def write_key_pair(name: str, path: Path) -> None:
    """Write a new signing key to a file, and its public key to the file with .pub added."""
    public = path.with_name(f"{path.name}.pub")
    check_writable(path, public)
    made = SigningKey.generate(name)
    made.write(path)
    write_text(public, f"{made.verifier}\n", public=True)
    click.echo(f"{path}: the signing key of {name}, secret\n{public}: {made.verifier}")


@key.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
def show(path: Path) -> None:
    """Print the public key of the signing key in FILE."""
    click.echo(str(SigningKey.read(path).verifier))
