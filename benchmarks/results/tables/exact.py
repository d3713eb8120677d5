"""The table of exact replay."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class ExactRow(ResultRow):
    """A series under exact replay, on the judging half.

    Attributes:
        series: the traffic.
        head: the precision of the server's output head.
        records: the answers of both halves.
        judged_tokens: the tokens of the judging half.
        exact_match_share: the tokens that are the replay's own.
        tied_share: the positions with a tie.
        charge_of_log2_v: the paper's charge, as a share of log2 V.
        counting_code_of_log2_v: the length under the counting code.
        pooled_code_of_log2_v: the length under the pooled code.
        dangerous_share: the dangerous tokens.
    """

    series: str
    head: str
    records: int
    judged_tokens: int
    exact_match_share: float
    tied_share: float
    charge_of_log2_v: float
    counting_code_of_log2_v: float
    pooled_code_of_log2_v: float
    dangerous_share: float


EXACT = ResultsTable[ExactRow](
    Results[ExactRow],
    (
        Column("series", lambda row: row.series, words=True),
        Column("head", lambda row: row.head, words=True),
        Column("tokens", lambda row: f"{row.judged_tokens}"),
        Column("equal", lambda row: f"{row.exact_match_share:.2%}"),
        Column("ties", lambda row: f"{row.tied_share:.4%}"),
        Column("charge", lambda row: f"{row.charge_of_log2_v:.4%}"),
        Column("counting code", lambda row: f"{row.counting_code_of_log2_v:.4%}"),
        Column("pooled code", lambda row: f"{row.pooled_code_of_log2_v:.4%}"),
        Column("dangerous", lambda row: f"{row.dangerous_share:.1e}"),
    ),
)
