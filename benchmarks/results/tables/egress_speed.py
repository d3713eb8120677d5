"""The table of the speed of accounts of captures."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class EgressSpeedRow(ResultRow):
    """The account of a synthetic capture.

    Attributes:
        format: format of the file.
        frames: number of frames.
        megabytes: size of the frames.
        tokens: token ids that were compared with the log.
        explained_share: share of the frames that are explained.
        frames_per_second: frames in a second of one processor's time.
        peak_megabytes: most memory of the process.
    """

    format: str
    frames: int
    megabytes: float
    tokens: int
    explained_share: float
    frames_per_second: float
    peak_megabytes: float


EGRESS_SPEED = ResultsTable[EgressSpeedRow](
    Results[EgressSpeedRow],
    (
        Column("format", lambda row: row.format, words=True),
        Column("frames", lambda row: f"{row.frames:,}"),
        Column("MB", lambda row: f"{row.megabytes:.0f}"),
        Column("tokens", lambda row: f"{row.tokens:,}"),
        Column("explained", lambda row: f"{row.explained_share:.0%}"),
        Column("frames/s", lambda row: f"{row.frames_per_second:,.0f}"),
        Column("memory", lambda row: f"{row.peak_megabytes:.0f} MB"),
    ),
)
