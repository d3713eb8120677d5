"""The command `verify log seal`, which makes an archive of new records."""

from pathlib import Path

import click

from weightwarden.cli.commands.log.importing import read_signers
from weightwarden.cli.commands.log.options import log_option, mark_option
from weightwarden.cli.options.shared import SIGNING_KEY_OPTION
from weightwarden.logger.resealing import reseal
from weightwarden.logger.sealing import SealedArchive
from weightwarden.logger.sealing import seal as seal_log
from weightwarden.logger.store.mark import MarkFile
from weightwarden.logger.store.mark import mark_path as mark_beside


@click.command()
@log_option
@click.option("--archives", "folder", required=True, metavar="URL", help="Folder for archives: a path or fsspec URL.")
@SIGNING_KEY_OPTION
@mark_option
@click.option(
    "--min-records",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="RECORDS",
    help="Seal only if there are at least this many new records.",
)
@click.option(
    "--min-witnesses",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="COUNT",
    help="Fewest cosignatures of the archive's checkpoint, which the sidecar got (its --witness-url).",
)
@click.option(
    "--again",
    "lost_index",
    type=click.IntRange(0),
    metavar="INDEX",
    help="Instead, write the lost archive of the record with this index anew, while the database has its records.",
)
def seal(
    log_url: str,
    folder: str,
    signing_key_paths: tuple[Path, ...],
    mark_path: Path | None,
    min_records: int,
    min_witnesses: int,
    lost_index: int | None,
) -> None:
    """Seal the log's records that no archive holds. The log's writer may be running.

    The archive ends at the newest checkpoint with cosignatures, if there are any since the last archive.

    A database that is older than its mark, or than the newest archive in the folder, is not sealed. After an
    interruption, the next call continues.
    """
    signers = read_signers(signing_key_paths)
    if lost_index is not None:
        click.echo(_shown(reseal(log_url, folder, signers, lost_index)))
        return
    origin = signers[0].name
    mark = MarkFile(mark_path or mark_beside(signing_key_paths[0], origin), origin)
    sealed = seal_log(log_url, folder, signers, min_records, mark, min_witnesses)
    for archive in sealed:
        click.echo(_shown(archive))
    if not sealed:
        click.echo("Nothing new to seal.")


def _shown(archive: SealedArchive) -> str:
    return f"{archive.url}: records {archive.start} to {archive.end - 1}"
