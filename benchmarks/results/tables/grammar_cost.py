"""The table of the time that grammar masks take, over that of replaying a token."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class GrammarCostRow(ResultRow):
    """The masks of one answer.

    Attributes:
        tokenizer: the model whose tokenizer it is.
        vocabulary: width of the logits, tokens.
        grammar: the kind of traffic.
        tokens: tokens of the answer.
        distinct_masks: number of different masks.
        mask_us: processor time of a token's mask, microseconds.
        forward_share: that over the processor time of replaying a token on the embedded model.
    """

    tokenizer: str
    vocabulary: int
    grammar: str
    tokens: int
    distinct_masks: int
    mask_us: float
    forward_share: float


GRAMMAR_COST = ResultsTable[GrammarCostRow](
    Results[GrammarCostRow],
    (
        Column("vocabulary", lambda row: f"{row.vocabulary:,} ({row.tokenizer})", words=True),
        Column("grammar", lambda row: row.grammar, words=True),
        Column("tokens", lambda row: f"{row.tokens}"),
        Column("different masks", lambda row: f"{row.distinct_masks}"),
        Column("a mask, µs", lambda row: f"{row.mask_us:.0f}"),
        Column("share of the forward pass", lambda row: f"{row.forward_share:.2%}"),
    ),
)
