"""The results file of a benchmark: the rows of a table, and all information for repeating the measurement."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from benchmarks.environment import environment


class ResultRow(BaseModel):
    """The row of a table of results; a field's name carries its unit, and a share is between 0 and 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Row = TypeVar("Row", bound=ResultRow)
Settings = Mapping[str, int | float | str | None]
"""Settings by name."""


class Results(BaseModel, Generic[Row]):
    """The rows of a measurement, and their origin.

    Attributes:
        provenance: origin of the file, if the command did not write it itself.
        environment: the machine, the versions and the commit.
        command: the command line.
        settings: the settings that the figures depend on, with the seeds.
        facts: the figures that belong to no single row.
        rows: the rows of the table.
        details: the measurement in full, which no table shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    provenance: str | None = None
    environment: dict[str, str]
    command: str
    settings: dict[str, int | float | str | None]
    facts: dict[str, float]
    rows: list[Row]
    details: JsonValue = None

    @classmethod
    def measured(
        cls,
        rows: Sequence[Row],
        settings: Settings,
        *,
        facts: Mapping[str, float] | None = None,
        devices: Mapping[str, str] | None = None,
        details: JsonValue = None,
    ) -> "Results[Row]":
        """The results of the running command, with its command line, the machine and the versions.

        Args:
            rows: the rows of the table.
            settings: the settings that the figures depend on, with the seeds.
            facts: the figures that belong to no single row.
            devices: the devices that the environment names besides the processor.
            details: the measurement in full.
        """
        return cls(
            environment=environment() | dict(devices or {}),
            command=shlex.join([Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]]),
            settings=dict(settings),
            facts=dict(facts or {}),
            rows=list(rows),
            details=details,
        )

    def to_json(self) -> str:
        """The file's text."""
        return self.model_dump_json(indent=1) + "\n"
