"""The table of smuggled bytes in real traffic."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable
from weightwarden.verifier.egress.report import Verdict


class EgressRow(ResultRow):
    """The account of real traffic with one way of smuggling.

    Attributes:
        smuggled: the way; None for the traffic alone.
        verdict: verdict of the account.
        frames: number of frames.
        explained_share: share of the frames that are explained.
        unexplained_frames: number of unexplained frames.
        unexplained_bits: bits of those.
        found_as: the kind of unexplained frames by which the way was found, or None.
    """

    smuggled: str | None
    verdict: Verdict
    frames: int
    explained_share: float
    unexplained_frames: int
    unexplained_bits: int
    found_as: str | None


EGRESS = ResultsTable[EgressRow](
    Results[EgressRow],
    (
        Column("smuggled", lambda row: row.smuggled or "nothing", words=True),
        Column("verdict", lambda row: row.verdict, words=True),
        Column("frames", lambda row: f"{row.frames:,}"),
        Column("unexplained", lambda row: f"{row.unexplained_frames:,}"),
        Column("bits of it", lambda row: f"{row.unexplained_bits:,}"),
        Column("found as", lambda row: row.found_as or "-", words=True),
    ),
)
