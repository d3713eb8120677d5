"""A record and where it stands, for messages and reports."""

from dataclasses import dataclass
from typing import Literal

from logger.record import Record


@dataclass(frozen=True)
class PlacedRecord:
    """A record and where it stands.

    Attributes:
        source: the traffic file's path or the archive's URL.
        number: its line there, from 1, or its index in the log, from 0. unit: which of the two.
    """

    record: Record
    source: str
    number: int
    unit: Literal["line", "index"] = "line"

    @property
    def place(self) -> str:
        """Source and number, as messages begin with them."""
        return f"{self.source}:{self.number}" if self.unit == "line" else f"{self.source}: record {self.number}"

    @property
    def short_place(self) -> str:
        """The same with the source's last part only."""
        name = self.source.rstrip("/").rsplit("/", 1)[-1]
        return f"{name}:{self.number}"
