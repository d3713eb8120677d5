"""The table of random requests."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class RandomRequestsRow(ResultRow):
    """Results of random requests to an honest server.

    Attributes:
        server: the server, in words.
        requests: number of requests sent.
        refused: number of requests that the sidecar refuses.
        answers: number of records.
        tokens: tokens of the answers.
        flagged: number of flagged records.
        unsteady_positions: the positions that no test counts; None where they were counted in the tests.
        flagged_expected_at_most: largest mean number of flagged records of an honest server.
        p_value: the probability of so many flagged records, at that rate.
    """

    server: str
    requests: int
    refused: int
    answers: int
    tokens: int
    flagged: int
    unsteady_positions: int | None
    flagged_expected_at_most: float
    p_value: float


def _flagged(row: RandomRequestsRow) -> str:
    if row.unsteady_positions is None:
        return f"{row.flagged}"
    return f"{row.flagged} ({row.unsteady_positions} unsteady positions)"


RANDOM_REQUESTS = ResultsTable[RandomRequestsRow](
    Results[RandomRequestsRow],
    (
        Column("server", lambda row: row.server, words=True),
        Column("refused", lambda row: f"{row.refused:,}"),
        Column("answers", lambda row: f"{row.answers:,}"),
        Column("tokens", lambda row: f"{row.tokens:,}"),
        Column("flagged", _flagged),
        Column("expected at most", lambda row: f"{row.flagged_expected_at_most:.1f}"),
        Column("p", lambda row: f"{row.p_value:.2f}" if row.p_value < 1 else "1"),
    ),
)
