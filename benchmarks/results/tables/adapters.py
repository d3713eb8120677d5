"""The table of runs over answers of many low-rank adapters."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class AdapterRow(ResultRow):
    """A run over the same answers.

    Attributes:
        run: what the records claim.
        adapters: number of adapters that they name.
        records: number of records.
        tokens: their output tokens.
        processor_seconds: processor time of the run, with the loading of its adapters, seconds.
        peak_gib: most memory that the process had held by its end, GiB.
        flagged: number of flagged records.
        alarm: whether the run alarmed.
    """

    run: str
    adapters: int
    records: int
    tokens: int
    processor_seconds: float
    peak_gib: float
    flagged: int
    alarm: bool


ADAPTERS = ResultsTable[AdapterRow](
    Results[AdapterRow],
    (
        Column("the records", lambda row: row.run, words=True),
        Column("adapters", lambda row: f"{row.adapters}"),
        Column("records", lambda row: f"{row.records}"),
        Column("tokens", lambda row: f"{row.tokens:,}"),
        Column("processor time, s", lambda row: f"{row.processor_seconds:.1f}"),
        Column("peak memory, GiB", lambda row: f"{row.peak_gib:.2f}"),
        Column("flagged", lambda row: f"{row.flagged}"),
        Column("verdict", lambda row: "alarm" if row.alarm else "clear", words=True),
    ),
)
