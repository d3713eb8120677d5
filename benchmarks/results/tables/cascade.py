"""The table of the cascade."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class CascadeRow(ResultRow):
    """Results of a width on a series.

    Attributes:
        series: the traffic.
        width_logits: the distance of the nearest rival from which on a position is clear.
        unclear_positions_share: the positions that bfloat16 leaves unclear.
        unclear_records_share: the records with an unclear position.
        repeated_tokens_share: the tokens that float32 computes again.
        missed_bits_share: the bits of float32's admissible sets that lie at clear positions.
        missed_positions_share: the clear positions with these bits.
        clear_beyond_threshold_share: the clear positions whose token is beyond the threshold in float32.
        time_of_float32: the time of the cascade, that of float32 alone = 1.
    """

    series: str
    width_logits: float
    unclear_positions_share: float
    unclear_records_share: float
    repeated_tokens_share: float
    missed_bits_share: float
    missed_positions_share: float
    clear_beyond_threshold_share: float
    time_of_float32: float


CASCADE = ResultsTable[CascadeRow](
    Results[CascadeRow],
    (
        Column("series", lambda row: row.series, words=True),
        Column("width, logits", lambda row: f"{row.width_logits}"),
        Column("unclear positions", lambda row: f"{row.unclear_positions_share:.1%}"),
        Column("records with one", lambda row: f"{row.unclear_records_share:.1%}"),
        Column("tokens repeated", lambda row: f"{row.repeated_tokens_share:.1%}"),
        Column("bits missed", lambda row: f"{row.missed_bits_share:.1%}"),
        Column("time", lambda row: f"{row.time_of_float32:.2f}"),
    ),
)
