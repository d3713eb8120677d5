"""The table of what stock speculation leaves open: sizes of the admissible sets of scheme `vllm-v2-one-hot`."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class OneHotSpeculationRow(ResultRow):
    """Positions under one setting of the sampling parameters.

    Attributes:
        setting: the sampling parameters.
        positions: number of positions.
        admissible_mean: mean number of tokens that some draft gives.
        admissible_max: the largest number.
        one_admissible_share: positions at which every draft gives the same token.
        bits_mean: mean of log2 of the number, bits.
        share_of_all: that over log2 V.
        plain_bits_mean: the same mean without speculation, under the same tolerance.
        other_share: positions at which a draft of the likeliest token gives another token than plain seeded sampling.
    """

    setting: str
    positions: int
    admissible_mean: float
    admissible_max: int
    one_admissible_share: float
    bits_mean: float
    share_of_all: float
    plain_bits_mean: float
    other_share: float


ONE_HOT_SPECULATION = ResultsTable[OneHotSpeculationRow](
    Results[OneHotSpeculationRow],
    (
        Column("sampling", lambda row: row.setting, words=True),
        Column("positions", lambda row: f"{row.positions}"),
        Column("admissible, mean", lambda row: f"{row.admissible_mean:.2f}"),
        Column("most", lambda row: f"{row.admissible_max}"),
        Column("one admissible", lambda row: f"{row.one_admissible_share:.0%}"),
        Column("mean log2, bits/token", lambda row: f"{row.bits_mean:.3f}"),
        Column("of log2 V", lambda row: f"{row.share_of_all:.1%}"),
        Column("without speculation, bits/token", lambda row: f"{row.plain_bits_mean:.4f}"),
        Column("likeliest token drafted: another than plain", lambda row: f"{row.other_share:.0%}"),
    ),
)
