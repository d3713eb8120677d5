"""A results file is read as it was written, says what it was measured on, and is refused when it is not one."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class Height(ResultRow):
    hill: str
    height_m: float


HEIGHTS = ResultsTable[Height](
    Results[Height],
    (
        Column("hill", lambda row: row.hill, words=True),
        Column("height, m", lambda row: f"{row.height_m:.1f}"),
    ),
)


@pytest.fixture
def measured() -> Results[Height]:
    rows = [Height(hill="Kahler Asten", height_m=841.94), Height(hill="Ebbe", height_m=663.3)]
    return Results[Height].measured(rows, {"seed": 3}, facts={"mean_m": 752.6}, details={"by": ["barometer"]})


def test_a_file_is_read_as_it_was_written(measured: Results[Height], tmp_path: Path) -> None:
    HEIGHTS.write(tmp_path / "new", "heights", measured)
    assert HEIGHTS.read(tmp_path / "new" / "heights.json") == measured


def test_the_markdown_has_the_columns_cells(measured: Results[Height], tmp_path: Path) -> None:
    HEIGHTS.write(tmp_path, "heights", measured)
    assert (tmp_path / "heights.md").read_text(encoding="utf-8").splitlines() == [
        "| hill | height, m |",
        "|---|--:|",
        "| Kahler Asten | 841.9 |",
        "| Ebbe | 663.3 |",
    ]


def test_a_file_names_the_machine_the_versions_the_commit_and_the_command(measured: Results[Height]) -> None:
    assert {"processor", "cores", "system", "python", "torch", "numpy", "commit"} <= set(measured.environment)
    assert measured.command.startswith("python")
    assert measured.provenance is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows", 0, "hight_m"), 841.9),  # no such field
        (("rows", 0, "height_m"), "841.9"),  # a text is no number
        (("rows", 0, "height_m"), float("nan")),
        (("notes",), "nice weather"),
        (("environment",), None),
    ],
)
def test_a_file_that_is_not_one_of_the_table_is_refused(
    measured: Results[Height], tmp_path: Path, path: tuple[str | int, ...], value: object
) -> None:
    said = json.loads(measured.to_json())
    at = said
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    (tmp_path / "heights.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(ValidationError):
        HEIGHTS.read(tmp_path / "heights.json")
