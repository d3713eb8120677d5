"""Candidate tables whose reduction is under way on a device."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np

from weightwarden.sampler.types import IntArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import Window


@dataclass(frozen=True)
class PartTable:
    """A candidate table of some rows of a chunk, in the order of `rows`."""

    rows: IntArray
    table: CandidateTable


class PendingTables(Protocol):
    """A reduction under way. Every row appears once: in a part, or in the pending tables that `take` returns."""

    def take(self) -> "tuple[list[PartTable], PendingTables | None]":
        """Wait for the parts that are ready. To be called once.

        Returns:
            The parts, and a restarted reduction of the other rows, if any.

        Raises:
            ReplayError: a row holds nan or +inf, or nothing finite.
        """
        ...


@runtime_checkable
class SelfReducing(Protocol):
    """Rows that can be reduced on their device. Other `LogitRows` are reduced on the host."""

    def begin(self, draws: Draws, window: Window) -> PendingTables | None:
        """Begin to reduce all rows to the candidates of `gumbel_candidates`, without waiting for them.

        None if the draws' scheme cannot be reduced on the device.
        """
        ...


def finished(pending: PendingTables) -> CandidateTable:
    """The table of all rows, in order; waits."""
    parts: list[PartTable] = []
    left: PendingTables | None = pending
    while left is not None:
        ready, left = left.take()
        parts.extend(ready)
    return concat(parts)


def concat(parts: Sequence[PartTable]) -> CandidateTable:
    """The table of all rows of some parts, in order."""
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    ones = ("slope_nk", "mass_above_min_nke", "mass_above_max_nke")
    arrays = {}
    for field in fields(CandidateTable):
        columns = field.name.endswith(("_nk", "_nke", "_nu"))
        width = max(getattr(part.table, field.name).shape[1] for part in parts) if columns else 0
        padded = []
        for part in parts:
            values = getattr(part.table, field.name)
            if columns:
                unused = -1 if field.name == "ids_nk" else 1.0 if field.name in ones else -np.inf
                spare = [(0, 0), (0, width - values.shape[1]), (0, 0)][: values.ndim]
                values = np.pad(values, spare, constant_values=unused)
            padded.append(values)
        arrays[field.name] = np.concatenate(padded)[order]
    return CandidateTable(**arrays)
