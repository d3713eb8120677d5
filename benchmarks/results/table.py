"""The table of results: its columns, its Markdown, and its files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from benchmarks.results.file import Results, Row
from weightwarden.logger.files.output import write_text


@dataclass(frozen=True)
class Column(Generic[Row]):
    """The column of a table.

    Attributes:
        heading: its first line.
        cell: the text of a row's cell.
        words: whether it holds words; numbers are aligned right.
    """

    heading: str
    cell: Callable[[Row], str]
    words: bool = False


@dataclass(frozen=True)
class ResultsTable(Generic[Row]):
    """The kind of a table.

    Attributes:
        results: the type of its files.
        columns: its columns.
    """

    results: type[Results[Row]]
    columns: tuple[Column[Row], ...]

    def markdown(self, rows: Sequence[Row]) -> str:
        """The table of some rows as Markdown."""
        headings = [column.heading for column in self.columns]
        marks = ["---" if column.words else "--:" for column in self.columns]
        lines = [_line(headings), "|" + "|".join(marks) + "|", *map(self.line, rows)]
        return "\n".join(lines) + "\n"

    def line(self, row: Row) -> str:
        """The table's line of a row."""
        return _line([column.cell(row) for column in self.columns])

    def read(self, path: Path) -> Results[Row]:
        """The results of a file, checked.

        Raises:
            pydantic.ValidationError: the file is not one of this table.
        """
        return self.results.model_validate_json(path.read_bytes())

    def write(self, folder: Path, name: str, results: Results[Row]) -> None:
        """Write results as NAME.json and NAME.md into a folder, made when new."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{name}.json", results.to_json(), public=True)
        write_text(folder / f"{name}.md", self.markdown(results.rows), public=True)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
