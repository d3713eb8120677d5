"""The table of the simulated month."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class MonthRow(ResultRow):
    """Limits after some days, bits per output token.

    Attributes:
        by: what the audit rate is a share of, "records" or "tokens".
        day: days since the month's begin.
        answers: answers so far.
        output_tokens: their output tokens.
        audited_share: share of the output tokens that was audited.
        carried: bits that all answers carry.
        summed: sum of the limits of each day alone, as `verify run` gives them.
        series: limit of the series on the server's dashboard.
        rate: its part that grows with the traffic.
        stock_bytes: its part that counts once, bytes.
    """

    by: str
    day: int
    answers: int
    output_tokens: int
    audited_share: float
    carried: float
    summed: float
    series: float
    rate: float
    stock_bytes: float


MONTH = ResultsTable[MonthRow](
    Results[MonthRow],
    (
        Column("drawn by", lambda row: row.by),
        Column("days", lambda row: f"{row.day}"),
        Column("answers", lambda row: f"{row.answers:,}"),
        Column("tokens audited", lambda row: f"{100 * row.audited_share:.1f}%"),
        Column("carried", lambda row: f"{row.carried:.3f}"),
        Column("days' limits added up", lambda row: f"{row.summed:.3f}"),
        Column("one limit", lambda row: f"{row.series:.3f}"),
        Column("of it, grows with traffic", lambda row: f"{row.rate:.3f}"),
        Column("counts once, MB", lambda row: f"{row.stock_bytes / 1e6:.2f}"),
    ),
)
