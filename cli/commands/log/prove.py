"""The command `verify log prove`, which proves to others that a record is in the log."""

from pathlib import Path

import click

from weightwarden.cli.commands.log.options import archives_argument
from weightwarden.cli.commands.log.show import archive_of
from weightwarden.cli.options.shared import public_key_option
from weightwarden.logger.archive.proving import proved_record
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.merkle import leaf_hash


@click.command()
@click.argument("index", type=click.IntRange(0))
@archives_argument
@public_key_option(required=True)
def prove(index: int, archives: tuple[str, ...], public_key_path: Path) -> None:
    """Prove that record INDEX is in the log, from only the archive that holds it.

    The proof (c2sp.org/tlog-proof) is the path from the record's leaf hash to the root of the archive's checkpoint, and
    the signed checkpoint. The leaf hash is printed to standard error. `verify log verify-proof` verifies the proof.
    """
    keys = PublicKeys.read(public_key_path)
    proved = proved_record(archive_of([read_archive(url, keys) for url in archive_urls(archives)], index), index)
    click.echo(f"leaf hash {leaf_hash(proved.entry).hex()}", err=True)
    click.echo(proved.proof.encode().decode("utf-8"), nl=False)
