"""Records with their places, for messages and reports."""

from dataclasses import dataclass
from typing import Literal

from weightwarden.logger.record import Record

Unit = Literal["line", "index"]


@dataclass(frozen=True)
class Place:
    """The place of a record.

    Attributes:
        source: the traffic file's path or the archive's URL.
        number: line of the file, from 1, or index in the log, from 0.
        unit: the meaning of `number`.
    """

    source: str
    number: int
    unit: Unit = "line"

    def __str__(self) -> str:
        """Source and number, the beginning of messages."""
        return f"{self.source}:{self.number}" if self.unit == "line" else f"{self.source}: record {self.number}"

    @property
    def short(self) -> str:
        """Source without its folders, and number."""
        name = self.source.rstrip("/").rsplit("/", 1)[-1]
        return f"{name}:{self.number}"


@dataclass(frozen=True)
class PlacedRecord:
    """A record with its place (`Place`).

    Attributes:
        retokenised: True if its output token ids were made from text, rather than taken from the engine.
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
        """Source and number, the beginning of messages."""
        return str(self.at)

    @property
    def short_place(self) -> str:
        """Source without its folders, and number."""
        return self.at.short
