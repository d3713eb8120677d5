"""The tables of the sidecar's cost: steady throughput, the beginning of requests, and a token's way."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class SteadyRow(ResultRow):
    """Steady throughput of one way. Figures are medians over rounds, ratios are within a round.

    Attributes:
        way: the way to the upstream.
        streams: number of streams.
        tokens_per_second: tokens a second of all streams together.
        of_direct: that over the upstream's without anything before it.
        of_proxy: that over the plain proxy's.
        processor_us: processor time of the way's server, microseconds a token.
    """

    way: str
    streams: int
    tokens_per_second: float
    of_direct: float
    of_proxy: float
    processor_us: float


class BeginningRow(ResultRow):
    """Requests of one way that begin at once. Figures are medians over rounds, ratios are within a round.

    Attributes:
        way: the way to the upstream.
        requests: number of requests.
        first_p50_ms: median time from request to first token, milliseconds.
        first_p99_ms: its 99th percentile, milliseconds.
        p50_of_proxy: the median over the plain proxy's.
        p99_of_proxy: the 99th percentile over the plain proxy's.
        processor_ms: processor time of the way's server, milliseconds a request of two tokens.
    """

    way: str
    requests: int
    first_p50_ms: float
    first_p99_ms: float
    p50_of_proxy: float
    p99_of_proxy: float
    processor_ms: float


class TokenWayRow(ResultRow):
    """The way of one way's tokens at 50 a second and stream. Figures are medians over rounds.

    Attributes:
        way: the way to the upstream.
        streams: number of streams.
        p50_ms: median time from the upstream's write to the client's read, milliseconds.
        p99_ms: its 99th percentile, milliseconds.
        added_p50_ms: the median without the direct way's of the same round, milliseconds.
        added_p99_ms: the 99th percentile without the direct way's of the same round, milliseconds.
    """

    way: str
    streams: int
    p50_ms: float
    p99_ms: float
    added_p50_ms: float
    added_p99_ms: float


SIDECAR_STEADY = ResultsTable[SteadyRow](
    Results[SteadyRow],
    (
        Column("way", lambda row: row.way, words=True),
        Column("streams", lambda row: f"{row.streams}"),
        Column("tokens a second", lambda row: f"{row.tokens_per_second:,.0f}"),
        Column("of direct", lambda row: f"{row.of_direct:.2f}"),
        Column("of the proxy's", lambda row: f"{row.of_proxy:.2f}"),
        Column("processor time, µs a token", lambda row: f"{row.processor_us:.1f}"),
    ),
)
SIDECAR_BEGINNING = ResultsTable[BeginningRow](
    Results[BeginningRow],
    (
        Column("way", lambda row: row.way, words=True),
        Column("requests at once", lambda row: f"{row.requests}"),
        Column("first token p50, ms", lambda row: f"{row.first_p50_ms:.0f}"),
        Column("p99, ms", lambda row: f"{row.first_p99_ms:.0f}"),
        Column("p50 of the proxy's", lambda row: f"{row.p50_of_proxy:.1f}"),
        Column("p99 of the proxy's", lambda row: f"{row.p99_of_proxy:.1f}"),
        Column("processor time, ms a request", lambda row: f"{row.processor_ms:.2f}"),
    ),
)
SIDECAR_TOKEN_WAY = ResultsTable[TokenWayRow](
    Results[TokenWayRow],
    (
        Column("way", lambda row: row.way, words=True),
        Column("streams", lambda row: f"{row.streams}"),
        Column("under way p50, ms", lambda row: f"{row.p50_ms:.2f}"),
        Column("p99, ms", lambda row: f"{row.p99_ms:.2f}"),
        Column("added to direct p50, ms", lambda row: f"{row.added_p50_ms:.2f}"),
        Column("added p99, ms", lambda row: f"{row.added_p99_ms:.2f}"),
    ),
)
