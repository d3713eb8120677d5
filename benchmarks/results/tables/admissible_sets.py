"""The table of the sizes of admissible sets."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class AdmissibleSetsRow(ResultRow):
    """The positions of a series by the size of the admissible set.

    Attributes:
        series: the traffic.
        one_share: the positions with one admissible token.
        two_share: the positions with two admissible tokens.
        three_share: the positions with three admissible tokens.
        more_share: the positions with more.
        most_tokens: the size of the largest set.
    """

    series: str
    one_share: float
    two_share: float
    three_share: float
    more_share: float
    most_tokens: int


ADMISSIBLE_SETS = ResultsTable[AdmissibleSetsRow](
    Results[AdmissibleSetsRow],
    (
        Column("series", lambda row: row.series, words=True),
        Column("one", lambda row: f"{row.one_share:.2%}"),
        Column("two", lambda row: f"{row.two_share:.2%}"),
        Column("three", lambda row: f"{row.three_share:.2%}"),
        Column("more", lambda row: f"{row.more_share:.3%}"),
        Column("most", lambda row: f"{row.most_tokens}"),
    ),
)
