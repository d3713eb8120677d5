"""The table of speculative decoding whose acceptance is coupled to the seeded draw."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class SpeculationRow(ResultRow):
    """Answers of one sampling and one way to draft.

    Attributes:
        sampling: temperature and filters.
        drafts: the origin of the drafted tokens.
        tokens: tokens of the answers.
        equal: those that the seed draws at their place without speculation.
        drafted: drafted tokens.
        accepted_share: those that the plugin accepted.
        accepted_by_stock_share: those that the stock rule accepts in the same steps.
        tokens_per_step: tokens a step of the target model under the plugin.
        altered_by_stock_share: the steps in which the stock rule emits a token that the seed does not draw.
    """

    sampling: str
    drafts: str
    tokens: int
    equal: int
    drafted: int
    accepted_share: float
    accepted_by_stock_share: float
    tokens_per_step: float
    altered_by_stock_share: float


SPECULATION = ResultsTable[SpeculationRow](
    Results[SpeculationRow],
    (
        Column("sampling", lambda row: row.sampling, words=True),
        Column("drafts", lambda row: row.drafts, words=True),
        Column("tokens", lambda row: f"{row.tokens}"),
        Column("equal", lambda row: f"{row.equal}"),
        Column("drafted", lambda row: f"{row.drafted}"),
        Column("accepted", lambda row: f"{row.accepted_share:.1%}"),
        Column("accepted by the stock rule", lambda row: f"{row.accepted_by_stock_share:.1%}"),
        Column("tokens a step", lambda row: f"{row.tokens_per_step:.2f}"),
        Column("steps that the stock rule alters", lambda row: f"{row.altered_by_stock_share:.1%}"),
    ),
)
