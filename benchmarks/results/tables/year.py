"""The table of the simulated year."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class YearRow(ResultRow):
    """Sizes of a log's parts on a day.

    Attributes:
        day: days since the year's begin.
        output_tokens: tokens that were logged.
        database_bytes: the live database with its write-ahead log.
        archive_bytes: all archives.
        hot_archives: archives that did not move yet.
        stamp_bytes: companions of archives: request ids and times.
        rollovers: rollovers until then.
    """

    day: int
    output_tokens: int
    database_bytes: int
    archive_bytes: int
    hot_archives: int
    stamp_bytes: int
    rollovers: int


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


YEAR = ResultsTable[YearRow](
    Results[YearRow],
    (
        Column("day", lambda row: f"{row.day}"),
        Column("tokens, million", lambda row: f"{row.output_tokens / 1e6:.1f}"),
        Column("database, MB", lambda row: _megabytes(row.database_bytes)),
        Column("archives, MB", lambda row: _megabytes(row.archive_bytes)),
        Column("of them not moved", lambda row: f"{row.hot_archives}"),
        Column("stamps, MB", lambda row: _megabytes(row.stamp_bytes)),
        Column("rollovers", lambda row: f"{row.rollovers}"),
    ),
)
