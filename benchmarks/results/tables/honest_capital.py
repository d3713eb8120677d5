"""The table of the series monitor's capital on recorded honest traffic."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class HonestCapitalRow(ResultRow):
    """One series of an honest server's answers.

    Attributes:
        series: its name.
        records: records judged.
        tokens: their tokens.
        largest_capital: the largest capital after any record, in any of the orders.
        median_largest_capital: the largest capital after any record, the median of the orders.
    """

    series: str
    records: int
    tokens: int
    largest_capital: float
    median_largest_capital: float


HONEST_CAPITAL = ResultsTable[HonestCapitalRow](
    Results[HonestCapitalRow],
    (
        Column("series", lambda row: row.series, words=True),
        Column("records", lambda row: f"{row.records:,}"),
        Column("tokens", lambda row: f"{row.tokens:,}"),
        Column("largest capital", lambda row: f"{row.largest_capital:.2f}"),
        Column("median of the orders", lambda row: f"{row.median_largest_capital:.2f}"),
    ),
)
