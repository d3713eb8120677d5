"""The table of a real engine's answers under grammars against an independent computation of its masks and draws."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class GrammarMasksRow(ResultRow):
    """Answers under the grammars of one kind.

    Attributes:
        kind: the kind of grammar.
        grammars: number of different grammars.
        answers: number of answers.
        positions: number of tokens.
        outside: tokens that the mask excludes.
        winners: tokens that win the masked draw.
        ties: tokens below the winner by no more than the engine's rounding moves logits.
        other: tokens below the winner by more.
        winners_without_mask_share: the tokens that would win the draw without the mask.
        forced_share: the positions at which the grammar allows one token.
        allowed_median: the tokens allowed at a position, the median.
        largest_margin: largest distance below the winner, logits.
    """

    kind: str
    grammars: int
    answers: int
    positions: int
    outside: int
    winners: int
    ties: int
    other: int
    winners_without_mask_share: float
    forced_share: float
    allowed_median: float
    largest_margin: float


GRAMMAR_MASKS = ResultsTable[GrammarMasksRow](
    Results[GrammarMasksRow],
    (
        Column("grammars", lambda row: f"{row.kind} ({row.grammars})", words=True),
        Column("answers", lambda row: f"{row.answers}"),
        Column("tokens", lambda row: f"{row.positions}"),
        Column("outside the mask", lambda row: f"{row.outside}"),
        Column("win the masked draw", lambda row: f"{row.winners}"),
        Column("ties", lambda row: f"{row.ties}"),
        Column("others", lambda row: f"{row.other}"),
        Column("largest margin, logits", lambda row: f"{row.largest_margin:.2f}"),
        Column("win without the mask", lambda row: f"{row.winners_without_mask_share:.1%}"),
        Column("one token allowed", lambda row: f"{row.forced_share:.1%}"),
        Column("allowed, median", lambda row: f"{row.allowed_median:.0f}"),
    ),
)
