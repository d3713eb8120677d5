"""The table of the bits that answers could carry unseen, with and without grammars."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class GrammarBitsRow(ResultRow):
    """Answers to the same requests with grammars of one kind, or without.

    Attributes:
        kind: the kind of grammar, and whether it was used.
        answers: number of answers.
        tokens: number of tokens.
        mismatch_share: the tokens that are not the replay's.
        suspicious: suspicious tokens.
        dangerous: dangerous tokens.
        flagged: flagged answers.
        admissible_mean: mean size of the admissible sets.
        one_admissible_share: the positions with one admissible token.
        forced_share: the positions at which the grammar allows one token; None without grammars.
        counting_bits_per_token: bits a token under the counting code, ends left out.
        pooled_bits_per_token: bits a token under the pooled code, ends left out.
        pooled_bits_per_answer: bits of an answer under the pooled code, its end included.
    """

    kind: str
    answers: int
    tokens: int
    mismatch_share: float
    suspicious: int
    dangerous: int
    flagged: int
    admissible_mean: float
    one_admissible_share: float
    forced_share: float | None
    counting_bits_per_token: float
    pooled_bits_per_token: float
    pooled_bits_per_answer: float


GRAMMAR_BITS = ResultsTable[GrammarBitsRow](
    Results[GrammarBitsRow],
    (
        Column("answers", lambda row: row.kind, words=True),
        Column("number", lambda row: f"{row.answers}"),
        Column("tokens", lambda row: f"{row.tokens}"),
        Column("one token allowed", lambda row: "-" if row.forced_share is None else f"{row.forced_share:.1%}"),
        Column("one admissible", lambda row: f"{row.one_admissible_share:.1%}"),
        Column("admissible, mean", lambda row: f"{row.admissible_mean:.3f}"),
        Column("mismatches", lambda row: f"{row.mismatch_share:.2%}"),
        Column("suspicious, dangerous", lambda row: f"{row.suspicious}, {row.dangerous}"),
        Column("flagged", lambda row: f"{row.flagged}"),
        Column("counting, bits/token", lambda row: f"{row.counting_bits_per_token:.4f}"),
        Column("pooled, bits/token", lambda row: f"{row.pooled_bits_per_token:.4f}"),
        Column("pooled, bits/answer", lambda row: f"{row.pooled_bits_per_answer:.2f}"),
    ),
)
