"""Disk usage and content of a log's database."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from weightwarden.logger.database import shown
from weightwarden.logger.disk_usage import DiskUsage, disk_usage
from weightwarden.logger.formats.canonical import MAX_HEADER_BYTES, RecordEncodingError, count_tokens
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import ENTRY, METADATA
from weightwarden.logger.store.tree import stored_bytes

PAGE = 1000
"""Records of one transaction."""
HEAD_BYTES = 4096
"""Bytes that are read of each record. A longer header is read in a second query."""


@dataclass(frozen=True, kw_only=True)
class LogUsage:
    """Disk usage and content of a log's database.

    Attributes:
        disk: bytes on disk.
        records: number of records that are in the database.
        output_tokens: number of their output tokens.
    """

    disk: DiskUsage
    records: int
    output_tokens: int


def log_usage(url: str, progress: Callable[[int], None] = lambda _: None) -> LogUsage:
    """The usage of a log's database, which may be open elsewhere. Nothing is written, and pages are read one by one.

    Args:
        url: the database.
        progress: called with the number of records of each page.

    Raises:
        LogUnreadable: there is no log, or its tables have another version.
        LogCorrupt: an entry is no record.
    """
    parsed = LOG_DATABASE.parse_url(url)
    engine = LOG_DATABASE.make_engine(parsed, writes=False)
    records = tokens = 0
    with LOG_DATABASE.failures_named(parsed), engine.connect() as connection:
        with connection.begin():
            LOG_DATABASE.require_current(connection, parsed)
            disk = disk_usage(connection, parsed, METADATA.tables)
            end = connection.execute(select(func.max(ENTRY.c.index))).scalar()
        last = -1
        while end is not None and last < end:
            with connection.begin():
                page = _page(connection, last, end)
            if not page:
                break
            for index, counted in page:
                if counted is None:
                    raise LogCorrupt(f"{shown(parsed)}: entry {index} is no record")
                last, records, tokens = index, records + 1, tokens + counted
            progress(len(page))
    return LogUsage(disk=disk, records=records, output_tokens=tokens)


def _page(connection: Connection, after: int, end: int) -> list[tuple[int, int | None]]:
    """Index and output tokens of the next records; None for an entry that is no record."""
    heads = connection.execute(
        select(ENTRY.c.index, func.substr(ENTRY.c.payload, 1, HEAD_BYTES))
        .where(ENTRY.c.index > after, ENTRY.c.index <= end)
        .order_by(ENTRY.c.index)
        .limit(PAGE)
    ).all()
    found: list[tuple[int, int | None]] = []
    for index, stored in heads:
        head = stored_bytes(stored, f"entry {index}")
        if b"\n" not in head:
            longer = select(func.substr(ENTRY.c.payload, 1, MAX_HEADER_BYTES)).where(ENTRY.c.index == index)
            head = stored_bytes(connection.execute(longer).scalar(), f"entry {index}")
        try:
            found.append((index, count_tokens(head)[1]))
        except RecordEncodingError:
            found.append((index, None))
    return found
