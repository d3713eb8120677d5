"""The table of paced release: bits of its moments, and what it costs the client."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class ReleasePaceRow(ResultRow):
    """Results of one way of releasing the same traffic.

    Attributes:
        server: the server.
        how: `rule`: the gate's rule on the server's token times. `sidecar`: a real sidecar and its log.
        control: control of the moments at which answers leave.
        answers: number of answers.
        tokens: their output tokens.
        first_p50_ms: time from a request to its first token, milliseconds.
        first_p99_ms: the same, of 99%.
        second_p50_ms: median time from the first token to the second one, milliseconds; None if no answer has two.
        second_p99_ms: the same, of 99%.
        tokens_per_second: median over the answers of their tokens a second after the first moment.
        underrun_share: share of the ticks that found too few tokens; None without a pace.
        bits_per_token: bits of the moments, a token: with a pace what the ledger charges, with ticks the largest
            information of so many tokens a tick; None where it is open.
    """

    server: str
    how: str
    control: str
    answers: int
    tokens: int
    first_p50_ms: float
    first_p99_ms: float
    second_p50_ms: float | None = None
    second_p99_ms: float | None = None
    tokens_per_second: float
    underrun_share: float | None
    bits_per_token: float | None


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


RELEASE_PACE = ResultsTable[ReleasePaceRow](
    Results[ReleasePaceRow],
    (
        Column("server", lambda row: row.server, words=True),
        Column("by", lambda row: row.how, words=True),
        Column("release", lambda row: row.control, words=True),
        Column("answers", lambda row: f"{row.answers:,}"),
        Column("tokens", lambda row: f"{row.tokens:,}"),
        Column("first token, p50 ms", lambda row: f"{row.first_p50_ms:.0f}"),
        Column("p99 ms", lambda row: f"{row.first_p99_ms:.0f}"),
        Column("to the second, p50 ms", lambda row: _milliseconds(row.second_p50_ms)),
        Column("p99 ms", lambda row: _milliseconds(row.second_p99_ms)),
        Column("tokens/s a stream", lambda row: f"{row.tokens_per_second:.1f}"),
        Column("underruns", lambda row: "-" if row.underrun_share is None else f"{row.underrun_share:.2%}"),
        Column("bits a token", lambda row: "open" if row.bits_per_token is None else f"{row.bits_per_token:.4f}"),
    ),
)
