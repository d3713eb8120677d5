"""The command `verify log find`, which finds the request of a record and the records of a request."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.shared import public_key_option
from weightwarden.cli.options.time_span import Span, TimeSpan, time_text
from weightwarden.logger.archive.companion import read_companion
from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.archive.names import archive_range
from weightwarden.logger.archive.storage import archive_urls, exists
from weightwarden.logger.request_stamp import RequestStamp, StampQuery, is_request_id
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable

RESPONSE_PREFIXES = ("chatcmpl-", "cmpl-")
"""Beginnings of a response's id. The request id follows."""


@dataclass(frozen=True)
class FoundRecord:
    """A record that was found.

    Attributes:
        log: name of the log.
        index: the record's index.
        stamp: its request id and time.
        archive: URL of the archive that holds it, or None if it is not sealed.
    """

    log: str
    index: int
    stamp: RequestStamp
    archive: str | None


@click.command()
@click.argument("archives", nargs=-1, metavar="[ARCHIVE...]")
@public_key_option(required=False)
@click.option("--log", "log_url", metavar="URL", help="Database of the log, which also has the records not sealed yet.")
@click.option("--request-id", metavar="ID", help="Id of the request (`x-request-id`), or of its response (`id`).")
@click.option(
    "--time",
    "span",
    type=TimeSpan(),
    metavar="FROM[/TO]",
    help="When the answer ended: ISO 8601, UTC unless it names a zone. TO is a time, or a duration: 90s, 5m, 2h, 1d."
    " Default of TO: no end.",
)
@click.option("--index", type=click.IntRange(0), metavar="INDEX", help="Index of the record.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_context
def find(
    ctx: click.Context,
    archives: tuple[str, ...],
    public_key_path: Path | None,
    log_url: str | None,
    request_id: str | None,
    span: Span | None,
    index: int | None,
    as_json: bool,
) -> None:
    """Find the request of a record, and the records of a request, in companions of archives and in the log's database.

    Each line has a record's index, the time of day, its request id, and the archive that holds it. ARCHIVE is a file, a
    folder of archives, or an fsspec URL; their companions are in the folder `requests` beside them.

    Exit code 0: found. 1: nothing found. 2: error.
    """
    if not archives and log_url is None:
        raise click.UsageError("give archives, or --log, or both")
    if archives and public_key_path is None:
        raise click.UsageError("--public-key is required to read the companions of archives")
    if request_id is None and span is None and index is None:
        raise click.UsageError("give --request-id, --time or --index, or several: then all must hold")
    query = StampQuery(
        indices=None if index is None else range(index, index + 1),
        request_ids=None if request_id is None else _ids_of(request_id),
        since=None if span is None else span.since,
        until=None if span is None else span.until,
    )
    count = 0
    for found in _found(archives, public_key_path, log_url, query):
        count += 1
        click.echo(_as_json(found) if as_json else _as_text(found))
    if not count:
        click.echo("Nothing found.", err=True)
    ctx.exit(exit_codes.CLEAR if count else exit_codes.ALARM)


def _ids_of(text: str) -> tuple[str, ...]:
    """The request ids that a text can mean: itself, and what follows the prefix of a response's id."""
    ids = (text, *(text.removeprefix(prefix) for prefix in RESPONSE_PREFIXES if text.startswith(prefix)))
    if not any(map(is_request_id, ids)):
        raise click.BadParameter(
            "a request id has 1 to 128 letters, digits, '.', '_' and '-'", param_hint="--request-id"
        )
    return ids


def _found(
    archives: tuple[str, ...], public_key_path: Path | None, log_url: str | None, query: StampQuery
) -> Iterator[FoundRecord]:
    """The records of companions, then those of the database that no companion has told of."""
    searched: set[tuple[str, int]] = set()
    without = 0
    if archives and public_key_path is not None:
        keys = PublicKeys.read(public_key_path)
        for url in archive_urls(archives):
            if query.indices is not None and (named := archive_range(url)) and query.indices.start not in named:
                continue
            companion = read_companion(url, keys)
            if companion is None:
                if not exists(url):
                    raise ArchiveUnreadable(f"{printable(url)}: there is no such archive")
                without += 1
                continue
            searched.add((companion.origin, companion.start))
            for index, stamp in companion.stamps(query):
                yield FoundRecord(companion.origin, index, stamp, url)
    if without:
        click.echo(f"{without} of the archives have no companion: no request of their records is kept there.", err=True)
    if log_url is not None:
        reader = LogReader(log_url)
        origin, sealed = reader.origin, reader.archives()
        at = 0
        for index, stamp in reader.stamps(query):
            while at < len(sealed) and sealed[at][1] <= index:
                at += 1
            if at == len(sealed):
                yield FoundRecord(origin, index, stamp, None)
            elif (origin, sealed[at][0]) not in searched:
                yield FoundRecord(origin, index, stamp, sealed[at][2])


def _as_text(found: FoundRecord) -> str:
    archive = "not sealed" if found.archive is None else printable(found.archive)
    return f"record {found.index}  {time_text(found.stamp.time)}  {printable(found.stamp.request_id)}  {archive}"


def _as_json(found: FoundRecord) -> str:
    return json.dumps(
        {
            "log": found.log,
            "record_index": found.index,
            "time": time_text(found.stamp.time),
            "request_id": found.stamp.request_id,
            "archive": found.archive,
        }
    )
