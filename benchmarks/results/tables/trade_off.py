"""The table of the trade-off, and its share of log2 V."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class ChargedShare(ResultRow):
    """Information left to an attacker, as shares of log2 V, with the 95% band of resampled prompts."""

    value: float
    low: float
    high: float


class TradeOffRow(ResultRow):
    """A series in one precision under one score, on the judging half, at the dangerous rate of the table.

    Attributes:
        series: the traffic.
        replay: the precision of the replay.
        tokens: tokens of the whole series.
        judged_tokens: tokens of the judging half.
        exact_match_share: the tokens that are the replay's own.
        score: published, or boundary-aware.
        charge_of_log2_v: the paper's charge.
        counting_code_of_log2_v: the length under the counting code.
        pooled_code_of_log2_v: the length under the pooled code.
        dangerous_share: the dangerous tokens.
        dangerous_share_at_most: the upper 95% limit of their rate, if tokens were independent.
        entropy_of_log2_v: the entropy of an honest server's choice given the replay.
    """

    series: str
    replay: str
    tokens: int
    judged_tokens: int
    exact_match_share: float
    score: str
    charge_of_log2_v: ChargedShare
    counting_code_of_log2_v: float
    pooled_code_of_log2_v: ChargedShare
    dangerous_share: float
    dangerous_share_at_most: float
    entropy_of_log2_v: float


def _banded(part: ChargedShare) -> str:
    return f"{part.value:.3%} [{part.low:.3%}, {part.high:.3%}]"


TRADE_OFF = ResultsTable[TradeOffRow](
    Results[TradeOffRow],
    (
        Column("series", lambda row: row.series, words=True),
        Column("replay", lambda row: row.replay, words=True),
        Column("tokens", lambda row: f"{row.judged_tokens}"),
        Column("equal", lambda row: f"{row.exact_match_share:.2%}"),
        Column("score", lambda row: row.score, words=True),
        Column("charge", lambda row: _banded(row.charge_of_log2_v)),
        Column("counting code", lambda row: f"{row.counting_code_of_log2_v:.3%}"),
        Column("pooled code", lambda row: _banded(row.pooled_code_of_log2_v)),
        Column("dangerous, at most", lambda row: f"{row.dangerous_share:.1e}, {row.dangerous_share_at_most:.1e}"),
        Column("entropy", lambda row: f"{row.entropy_of_log2_v:.3%}"),
    ),
)
