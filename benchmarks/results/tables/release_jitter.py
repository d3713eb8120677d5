"""The table of how late answers leave while a server floods the sidecar."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class ReleaseJitterRow(ResultRow):
    """Lateness of one kind of moments.

    Attributes:
        name: what leaves.
        control: control of the moments at which answers leave.
        flooded: whether the server floods the sidecar for another client.
        moments: number of moments.
        late_p50_ms: lateness, milliseconds: of a group against its tick, of another response against its request.
        late_p99_ms: the same, of 99%.
        late_max_ms: the same, of all.
    """

    name: str
    control: str
    flooded: bool
    moments: int
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float


RELEASE_JITTER = ResultsTable[ReleaseJitterRow](
    Results[ReleaseJitterRow],
    (
        Column("what", lambda row: row.name, words=True),
        Column("release", lambda row: row.control, words=True),
        Column("flooded", lambda row: "yes" if row.flooded else "no", words=True),
        Column("moments", lambda row: f"{row.moments}"),
        Column("late, p50 ms", lambda row: f"{row.late_p50_ms:.1f}"),
        Column("p99 ms", lambda row: f"{row.late_p99_ms:.1f}"),
        Column("max ms", lambda row: f"{row.late_max_ms:.1f}"),
    ),
)
