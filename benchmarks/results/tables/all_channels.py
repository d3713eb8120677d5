"""The table of all channels in one sum."""

import math

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class AllChannelsRow(ResultRow):
    """The channels that honest traffic leaves to a server, in one kind of replay and at one pace, bits a token of each.

    Attributes:
        replay: kind of replay.
        pace: the pace of release.
        tokens: the choice of tokens.
        ends: ends of answers, as requested.
        refusals: requests that are refused or fail.
        timing: moments at which the answers left.
        underrun_share: the ticks that found too few tokens.
        readiness: the readiness of one sidecar.
        days: days until the weights are out, unless honest traffic is flagged first.
    """

    replay: str
    pace: str
    tokens: float
    ends: float
    refusals: float
    timing: float
    underrun_share: float
    readiness: float
    days: float

    @property
    def whole(self) -> float:
        """The sum of all channels, bits a token."""
        return math.fsum((self.tokens, self.ends, self.refusals, self.timing, self.readiness))


ALL_CHANNELS = ResultsTable[AllChannelsRow](
    Results[AllChannelsRow],
    (
        Column("replay", lambda row: row.replay, words=True),
        Column("pace", lambda row: row.pace, words=True),
        Column("tokens", lambda row: f"{row.tokens:.4f}"),
        Column("ends", lambda row: f"{row.ends:.4f}"),
        Column("refusals", lambda row: f"{row.refusals:.5f}"),
        Column("timing", lambda row: f"{row.timing:.4f}"),
        Column("underruns", lambda row: f"{row.underrun_share:.2%}"),
        Column("readiness", lambda row: f"{row.readiness:.0e}"),
        Column("all, bits a token", lambda row: f"{row.whole:.4f}"),
        Column("days for 1 TB", lambda row: f"{row.days:.0f}"),
    ),
)
