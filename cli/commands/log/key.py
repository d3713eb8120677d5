"""`verify log key`: the keys that sign a log."""

from pathlib import Path

import click

from weightwarden.logger.files.output import check_writable, write_text
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
    metavar="F",
    help="File for the signing key; the public key goes into F.pub.",
)
def new(origin: str, path: Path) -> None:
    """Make a signing key for the log named ORIGIN, such as logs.example.org/cluster-7.

    The signing key stays on the host of the trusted logger, readable by its user alone. F.pub is for everybody who
    checks the log; take it to them by a way that the log's operator cannot reach.
    """
    public = path.with_name(f"{path.name}.pub")
    check_writable(path, public)
    made = SigningKey.generate(origin)
    made.write(path)
    write_text(public, f"{made.verifier}\n", public=True)
    click.echo(f"{path}: the signing key of {origin}, secret\n{public}: {made.verifier}")


@key.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="F")
def show(path: Path) -> None:
    """Print the public key of the signing key in file F."""
    click.echo(str(SigningKey.read(path).verifier))
