"""The table of the sidecar's workers: the sidecar and the plain proxy, each with several numbers of processes."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class WorkersRow(ResultRow):
    """One way with one number of processes. Figures are medians over rounds, ratios and differences are within a round.

    Attributes:
        way: the way to the upstream.
        processes: number of processes that answer requests: workers of the sidecar, processes of the proxy or, of the
            direct way, of the upstream.
        streams: number of streams.
        tokens_per_second: tokens a second of all streams together.
        of_one: that over the same way's with one process; None for the direct way.
        of_proxy: that over the plain proxy's with as many processes; None for the direct way.
        processor_us: processor time of the way's server, microseconds a token.
        first_p50_ms: median time from request to first token, of as many requests at once as streams, milliseconds.
        first_p99_ms: its 99th percentile, milliseconds.
        added_p50_ms: the median time from the upstream's write to the client's read, without the direct way's,
            milliseconds.
        added_p99_ms: the 99th percentile of that time, without the direct way's 99th percentile, milliseconds.
    """

    way: str
    processes: int
    streams: int
    tokens_per_second: float
    of_one: float | None
    of_proxy: float | None
    processor_us: float
    first_p50_ms: float
    first_p99_ms: float
    added_p50_ms: float
    added_p99_ms: float


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


WORKERS = ResultsTable[WorkersRow](
    Results[WorkersRow],
    (
        Column("way", lambda row: row.way, words=True),
        Column("processes", lambda row: f"{row.processes}"),
        Column("streams", lambda row: f"{row.streams}"),
        Column("tokens a second", lambda row: f"{row.tokens_per_second:,.0f}"),
        Column("of one process's", lambda row: _ratio(row.of_one)),
        Column("of the proxy's", lambda row: _ratio(row.of_proxy)),
        Column("processor time, µs a token", lambda row: f"{row.processor_us:.1f}"),
        Column("first token p50, ms", lambda row: f"{row.first_p50_ms:.0f}"),
        Column("p99, ms", lambda row: f"{row.first_p99_ms:.0f}"),
        Column("added to direct p50, ms", lambda row: f"{row.added_p50_ms:.2f}"),
        Column("added p99, ms", lambda row: f"{row.added_p99_ms:.2f}"),
    ),
)
