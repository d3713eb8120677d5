"""The table of the replay on a GPU."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class GpuRow(ResultRow):
    """A model's shape and the filters of its traffic.

    Attributes:
        model: the shape.
        vocabulary_tokens: the size of its vocabulary.
        drawn_with: the filters.
        bare_tokens_per_second: output tokens of the bare prefill.
        tables_of_bare: the speed of the replay to candidate tables, as a share of the bare prefill's.
        verdicts_of_bare: the same for the replay to verdicts.
        operations_floor_of_bare: the least time of the arithmetic, as a share of the bare prefill's; None off a GPU.
    """

    model: str
    vocabulary_tokens: int
    drawn_with: str
    bare_tokens_per_second: float
    tables_of_bare: float
    verdicts_of_bare: float
    operations_floor_of_bare: float | None


def _floor(row: GpuRow) -> str:
    return "-" if row.operations_floor_of_bare is None else f"{row.operations_floor_of_bare:.2f}"


GPU = ResultsTable[GpuRow](
    Results[GpuRow],
    (
        Column("model", lambda row: row.model, words=True),
        Column("vocabulary", lambda row: f"{row.vocabulary_tokens:,}"),
        Column("drawn with", lambda row: row.drawn_with, words=True),
        Column("bare, tokens/s", lambda row: f"{row.bare_tokens_per_second:,.0f}"),
        Column("tables", lambda row: f"{row.tables_of_bare:.3f}"),
        Column("verdicts", lambda row: f"{row.verdicts_of_bare:.3f}"),
        Column("floor", _floor),
    ),
)
