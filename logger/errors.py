"""Errors of the logger's formats."""

from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.text import printable


class ModelError(WeightwardenError):
    """A model folder that cannot be used: missing, unsafe to read, or unsupported."""


class TrafficError(WeightwardenError, ValueError):
    """An invalid traffic file. The message names file, line and field.

    Attributes:
        path: the file.
        line: 1-based, or None for the file as a whole.
        field: dotted name within the record, or None.
    """

    def __init__(self, what: str, *, path: Path | str, line: int | None = None, field: str | None = None) -> None:
        self.path, self.line, self.field = Path(path), line, field
        place = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {printable(field)}: {what}" if field else f"{place}: {what}")
