"""A record and where it stands, for messages and reports."""

from dataclasses import dataclass
from typing import Literal

from weightwarden.logger.record import Record

Unit = Literal["line", "index"]


@dataclass(frozen=True)
class Place:
    """Where a record stands.

    Attributes:
        source: the traffic file's path or the archive's URL.
        number: its line there, from 1, or its index in the log, from 0. unit: which of the two.
    """

    source: str
    number: int
    unit: Unit = "line"

    def __str__(self) -> str:
        """Source and number, as messages begin with them."""
        return f"{self.source}:{self.number}" if self.unit == "line" else f"{self.source}: record {self.number}"

    @property
    def short(self) -> str:
        """The same with the source's last part only."""
        name = self.source.rstrip("/").rsplit("/", 1)[-1]
        return f"{name}:{self.number}"


@dataclass(frozen=True)
class PlacedRecord:
    """A record and where it stands (`Place`).

    Attributes:
        retokenised: whether its output token ids were made from text by whoever recorded it, not told by the engine.
    """

    record: Record
    source: str
    number: int
    unit: Unit = "line"
    retokenised: bool = False

    @property
    def at(self) -> Place:
        return Place(self.source, self.number, self.unit)

    @property
    def place(self) -> str:
        """Source and number, as messages begin with them."""
        return str(self.at)

    @property
    def short_place(self) -> str:
        """The same with the source's last part only."""
        return self.at.short
