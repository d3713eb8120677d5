"""The table of ways past the sidecar."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class WayOutRow(ResultRow):
    """Fate of a way, over both wirings of the inference host.

    Attributes:
        name: what was sent.
        packets: number of packets that were sent each time.
        link_without: the places at which it arrived without rules, over a link of its own.
        switch_without: the places at which it arrived without rules, over a switch that the world is on.
        arrived_with: the places at which it arrived with rules, over either.
        counter: the counter of the rules.
        counted: packets by which that counter rose at least, over either.
    """

    name: str
    packets: int
    link_without: list[str]
    switch_without: list[str]
    arrived_with: list[str]
    counter: str
    counted: int


def _places(places: list[str]) -> str:
    return ", ".join(places) or "-"


WAYS_OUT = ResultsTable[WayOutRow](
    Results[WayOutRow],
    (
        Column("way tried", lambda row: row.name, words=True),
        Column("without rules: own link", lambda row: _places(row.link_without), words=True),
        Column("without rules: switch", lambda row: _places(row.switch_without), words=True),
        Column("with rules", lambda row: _places(row.arrived_with), words=True),
        Column("counted by", lambda row: f"`{row.counter}`", words=True),
        Column("packets", lambda row: f"{row.packets}"),
        Column("counted", lambda row: f"{row.counted}"),
    ),
)
