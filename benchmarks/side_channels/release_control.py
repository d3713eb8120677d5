"""The control of the moments at which a sidecar releases answers: none, ticks, or a pace."""

from collections.abc import Sequence
from dataclasses import dataclass

from weightwarden.logger.record import Record
from weightwarden.logger.release import Pace
from weightwarden.verifier.scoring.release_ledger import ReleaseCounter


@dataclass(frozen=True)
class ReleaseControl:
    """A control. At most one of both is set.

    Attributes:
        tick_ms: distance of two ticks, milliseconds.
        pace: the pace.
    """

    tick_ms: int | None = None
    pace: Pace | None = None

    @property
    def options(self) -> list[str]:
        """The sidecar's options."""
        if self.pace is not None:
            return ["--release-pace", str(self.pace)]
        return [] if self.tick_ms is None else ["--release-tick", str(self.tick_ms)]

    @property
    def name(self) -> str:
        """The control in words."""
        if self.pace is not None:
            return f"pace {self.pace}"
        return "none" if self.tick_ms is None else f"tick {self.tick_ms} ms"


def timing_bits(records: Sequence[Record]) -> float:
    """Charge of the moments at which paced answers left, bits.

    Raises:
        ValueError: a record does not hold them.
    """
    counter = ReleaseCounter()
    for record in records:
        counter.add(record)
    if counter.table.state != "paced":
        raise ValueError(f"{counter.table.open_records} of {len(records)} records have no release")
    return counter.table.bits
