"""The table of accounts of captures."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class EgressRow(ResultRow):
    """The account of a capture.

    Attributes:
        capture: what was captured.
        smuggled: what was injected, or None.
        frames: number of frames.
        explained_share: share of the frames that are explained.
        unexplained_frames: number of unexplained frames.
        unexplained_bits: bits of those.
        found_as: the kind of unexplained frames by which the injected ones were found, or None.
        frames_per_second: frames in a second of one processor's time; None where it was not measured.
        peak_megabytes: most memory of the process; None where it was not measured.
    """

    capture: str
    smuggled: str | None
    frames: int
    explained_share: float
    unexplained_frames: int
    unexplained_bits: int
    found_as: str | None
    frames_per_second: float | None
    peak_megabytes: float | None


def _share(row: EgressRow) -> str:
    return "100%" if row.explained_share == 1 else f"{100 * row.explained_share:.2f}%"


EGRESS = ResultsTable[EgressRow](
    Results[EgressRow],
    (
        Column("capture", lambda row: row.capture, words=True),
        Column("smuggled", lambda row: row.smuggled or "-", words=True),
        Column("frames", lambda row: f"{row.frames:,}"),
        Column("explained", _share),
        Column("unexplained", lambda row: f"{row.unexplained_frames:,}"),
        Column("bits of it", lambda row: f"{row.unexplained_bits:,}"),
        Column("found as", lambda row: row.found_as or "-", words=True),
        Column("frames/s", lambda row: "-" if row.frames_per_second is None else f"{row.frames_per_second:,.0f}"),
        Column("memory", lambda row: "-" if row.peak_megabytes is None else f"{row.peak_megabytes:.0f} MB"),
    ),
)
