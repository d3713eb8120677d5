"""The command `verify log prove`, which proves to others that a record is in the log."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import click

from weightwarden.cli.commands.log.options import archives_argument
from weightwarden.cli.commands.log.show import archive_of
from weightwarden.cli.options.shared import public_key_option
from weightwarden.logger.archive.reader import Archive, read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.merkle import leaf_hash
from weightwarden.logger.tlog.proofs import inclusion_proof, verify_inclusion


@click.command()
@click.argument("index", type=click.IntRange(0))
@archives_argument
@public_key_option(required=True)
def prove(index: int, archives: tuple[str, ...], public_key_path: Path) -> None:
    """Prove that record INDEX is in the log, from only the archive that holds it.

    The proof (c2sp.org/tlog-proof) is the path from the record's leaf hash to the root of the archive's checkpoint, and
    the signed checkpoint. The leaf hash is printed to standard error.
    """
    keys = PublicKeys.read(public_key_path)
    archive = archive_of([read_archive(url, keys) for url in archive_urls(archives)], index)
    leaf: list[bytes] = []
    proof = inclusion_proof(index, _leaves(archive, index, leaf), archive.frontier)
    checkpoint = archive.checkpoint
    verify_inclusion(leaf_hash=leaf[0], index=index, size=checkpoint.size, proof=proof, root=checkpoint.root)
    lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *(b64encode(one).decode() for one in proof)]
    click.echo(f"leaf hash {leaf[0].hex()}", err=True)
    click.echo("\n".join(lines) + "\n\n" + archive.note.decode("utf-8"), nl=False)


def _leaves(archive: Archive, index: int, leaf: list[bytes]) -> Iterator[bytes]:
    """All leaf hashes of an archive. The one at the index is also appended to `leaf`."""
    at = archive.start
    for entries in archive.entries():
        for entry in entries:
            hashed = leaf_hash(entry)
            if at == index:
                leaf.append(hashed)
            at += 1
            yield hashed
