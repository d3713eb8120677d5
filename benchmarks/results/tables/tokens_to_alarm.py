"""The table of audited tokens until the series monitor's alarm on a deviating server."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class TokensToAlarmRow(ResultRow):
    """One deviation.

    Attributes:
        deviation: its name, as `verify plan --deviation` takes it.
        tokens: tokens measured.
        records: their records.
        nats_per_token: mean of the ln likelihood ratio against the honest law, the deviation known.
        optimum_tokens: ln(1 / alarm level) / nats_per_token.
        robust_optimum_tokens: the same where a share of honest records may hold anything.
        tokens_to_alarm: audited tokens until the monitor's alarm, the median; None where none comes.
        tokens_to_alarm_before: the same by rates alone, with one weight limit.
    """

    deviation: str
    tokens: int
    records: int
    nats_per_token: float
    optimum_tokens: float
    robust_optimum_tokens: float | None
    tokens_to_alarm: float | None
    tokens_to_alarm_before: float | None


def _tokens(value: float | None) -> str:
    return "never" if value is None else f"{value:,.0f}"


def _ratio(row: TokensToAlarmRow) -> str:
    return "-" if row.tokens_to_alarm is None else f"{row.tokens_to_alarm / row.optimum_tokens:.1f}"


TOKENS_TO_ALARM = ResultsTable[TokensToAlarmRow](
    Results[TokensToAlarmRow],
    (
        Column("deviation", lambda row: row.deviation, words=True),
        Column("nats a token", lambda row: f"{row.nats_per_token:.5f}"),
        Column("optimum", lambda row: _tokens(row.optimum_tokens)),
        Column("robust optimum", lambda row: _tokens(row.robust_optimum_tokens)),
        Column("rates alone", lambda row: _tokens(row.tokens_to_alarm_before)),
        Column("monitor", lambda row: _tokens(row.tokens_to_alarm)),
        Column("to optimum", _ratio),
    ),
)
