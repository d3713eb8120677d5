"""The command `verify log show`, which shows the content of archives."""

import json
from pathlib import Path

import click

from weightwarden.cli.commands.log.options import archives_argument
from weightwarden.cli.options.quorum import described
from weightwarden.cli.options.shared import public_key_option
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.reader import Archive, read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.tlog.cosignature import WitnessKeys
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.signed_note import split_note
from weightwarden.text import printable


class NoSuchRecord(WeightwardenError, IndexError):
    """An index that no valid archive of those given holds."""


@click.command()
@archives_argument
@public_key_option(required=True)
@click.option("--checkpoint", "checkpoint_only", is_flag=True, help="Print only the newest signed checkpoint.")
@click.option(
    "--record",
    "index",
    type=click.IntRange(0),
    metavar="INDEX",
    help="Print the record with this index as a line of a traffic file.",
)
@click.option(
    "--witness-key",
    "witness_key_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with public keys of witnesses, one a line. Their cosignatures are verified.",
)
def show(
    archives: tuple[str, ...],
    public_key_path: Path,
    checkpoint_only: bool,
    index: int | None,
    witness_key_path: Path | None,
) -> None:
    """Show the content of archives that a known key sealed."""
    witnesses = WitnessKeys() if witness_key_path is None else WitnessKeys.read(witness_key_path)
    keys = PublicKeys.read(public_key_path)
    found = sorted((read_archive(url, keys) for url in archive_urls(archives)), key=lambda archive: archive.end)
    if checkpoint_only:
        click.echo(found[-1].note.decode("utf-8"), nl=False)
    elif index is not None:
        click.echo(record_at(found, index, keys))
    else:
        for archive in found:
            click.echo(_described(archive, witnesses))


def archive_of(found: list[Archive], index: int) -> Archive:
    """The archive that holds a record.

    Raises:
        NoSuchRecord: no archive holds it.
    """
    for archive in found:
        if archive.start <= index < archive.end:
            return archive
    raise NoSuchRecord(f"record {index} is in none of the archives")


def record_at(found: list[Archive], index: int, keys: PublicKeys) -> str:
    """A record as a line of a traffic file, after its archive was checked."""
    archive = archive_of(found, index)
    entries: list[bytes] = []
    check = check_archives(
        [archive.url], keys, keep=lambda _, at, entry: entries.append(entry) if at == index else None, partial=True
    )
    if not check.holds:
        raise NoSuchRecord(f"{printable(archive.url)}: {check.findings[0].what}")
    return decode_record(entries[0]).model_dump_json(exclude_defaults=True)


def _described(archive: Archive, witnesses: WitnessKeys) -> str:
    checkpoint = archive.checkpoint
    lines = [
        printable(archive.url),
        f"  log      {json.dumps(checkpoint.origin, ensure_ascii=False)}",
        f"  records  {archive.start} to {archive.end - 1}",
        f"  root     {checkpoint.root.hex()} of {checkpoint.size}",
        *(f"  note     {extension}" for extension in checkpoint.extensions),
    ]
    verified = witnesses.cosignatures(archive.note)
    known = {one.line for one in verified}
    lines += [f"  cosigned {described(one)}" for one in verified]
    lines += [
        f"  signed   {printable(line.name)}, not verified: its key is not given"
        for line in split_note(archive.note)[1]
        if line not in known and archive.keys.find(line.name, line.key_id) is None
    ]
    return "\n".join(lines)
