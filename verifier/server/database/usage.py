"""Disk usage and content of a verdict database."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select

from weightwarden.logger.disk_usage import DiskUsage, disk_usage
from weightwarden.verifier.server.database.schema import ARCHIVE, METADATA, VERDICT
from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE

PAGE = 10_000
"""Verdicts of one transaction."""


@dataclass(frozen=True, kw_only=True)
class VerdictUsage:
    """Disk usage and content of a verdict database.

    Attributes:
        disk: bytes on disk.
        records: number of verdicts that are in the database.
        output_tokens: number of output tokens of their records.
        audited_share: share of the output tokens of all checked archives that was selected; None if no archive was
            checked.
    """

    disk: DiskUsage
    records: int
    output_tokens: int
    audited_share: float | None


def verdict_usage(url: str, progress: Callable[[int], None] = lambda _: None) -> VerdictUsage:
    """The usage of a verdict database, which may be in use. Nothing is written, and pages are read one by one.

    Args:
        url: the database.
        progress: called with the number of verdicts of each page.

    Raises:
        VerdictsUnusable: there is no verdict database, or its tables have another version.
    """
    parsed = VERDICT_DATABASE.parse_url(url)
    engine = VERDICT_DATABASE.make_engine(parsed, writes=False)
    records = tokens = 0
    with VERDICT_DATABASE.failures_named(parsed), engine.connect() as connection:
        with connection.begin():
            VERDICT_DATABASE.require_current(connection, parsed)
            disk = disk_usage(connection, parsed, METADATA.tables)
            of_archives = select(func.sum(ARCHIVE.c.selected_tokens), func.sum(ARCHIVE.c.tokens))
            selected, checked = connection.execute(of_archives.where(ARCHIVE.c.checked.is_not(None))).one()
        last: int | None = -1
        while last is not None:
            with connection.begin():
                page = (
                    select(VERDICT.c.position, VERDICT.c.tokens)
                    .where(VERDICT.c.position > last)
                    .order_by(VERDICT.c.position)
                    .limit(PAGE)
                    .subquery()
                )
                sums = select(func.max(page.c.position), func.count(), func.coalesce(func.sum(page.c.tokens), 0))
                last, count, more = connection.execute(sums).one()
            records, tokens = records + count, tokens + int(more)
            progress(count)
    return VerdictUsage(
        disk=disk,
        records=records,
        output_tokens=tokens,
        audited_share=float(selected) / float(checked) if checked else None,
    )
