"""The tables of a cluster: the speed of its replay, and the resources of its driver."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class ClusterSpeedRow(ResultRow):
    """A way to replay.

    Attributes:
        workers: Ray workers; None for one process without Ray.
        threads: threads of the process, or of each worker.
        tokens_per_second: output tokens, the median of the rounds.
        slowest_tokens_per_second: output tokens of the slowest round.
        fastest_tokens_per_second: output tokens of the fastest round.
        efficiency: the speed as a share of one process's.
    """

    workers: int | None
    threads: int
    tokens_per_second: float
    slowest_tokens_per_second: float
    fastest_tokens_per_second: float
    efficiency: float

    @property
    def name(self) -> str:
        """The way in words."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        if self.workers is None:
            return f"one process, {threads}"
        return f"{self.workers} Ray worker{'s' * (self.workers > 1)}, {threads} each"


CLUSTER_SPEED = ResultsTable[ClusterSpeedRow](
    Results[ClusterSpeedRow],
    (
        Column("replay", lambda row: row.name, words=True),
        Column("output tokens/s", lambda row: f"{row.tokens_per_second:.1f}"),
        Column(
            "slowest to fastest round",
            lambda row: f"{row.slowest_tokens_per_second:.1f} to {row.fastest_tokens_per_second:.1f}",
        ),
        Column("efficiency", lambda row: f"{row.efficiency:.3f}"),
    ),
)


class ClusterDriverRow(ResultRow):
    """The driver after a number of archives.

    Attributes:
        archives: archives read.
        resident_mib: resident memory, MiB.
        seconds_per_archive: seconds since the row before.
        processor_ms_per_archive: processor time since the row before.
    """

    archives: int
    resident_mib: float
    seconds_per_archive: float | None
    processor_ms_per_archive: float | None


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


CLUSTER_DRIVER = ResultsTable[ClusterDriverRow](
    Results[ClusterDriverRow],
    (
        Column("archives read", lambda row: f"{row.archives:,}"),
        Column("resident, MiB", lambda row: f"{row.resident_mib:.0f}"),
        Column("seconds an archive", lambda row: _known(row.seconds_per_archive, ".4f")),
        Column("processor ms an archive", lambda row: _known(row.processor_ms_per_archive, ".2f")),
    ),
)
