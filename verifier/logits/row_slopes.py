"""Slopes of rows of logits: factors from errors of raw logits to errors of adjusted ones."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.types import FloatArray, IntArray


@dataclass(frozen=True)
class _Sloped:
    """Slopes [n, u] of one choice's touched ids, in rows from `first` on, and an upper bound of them."""

    first: int
    touched_ids: IntArray
    slope_nu: FloatArray
    steepest: float


@dataclass
class RowSlopes:
    """Slopes of m rows (`LogitAdjustment.slopes`): 1 except for tokens that a repetition penalty touches."""

    rows: int
    _items: list[_Sloped] = field(default_factory=list)

    def add(self, first: int, start: int, adjustment: LogitAdjustment, raw_nu: NDArray[np.floating[Any]]) -> None:
        """Add the slopes of an adjustment of rows from `first` on.

        The other arguments are those of `LogitAdjustment.slopes`.
        """
        if adjustment.steepest > 1:
            slopes = adjustment.slopes(start, raw_nu.astype(np.float32, copy=False))
            self._items.append(_Sloped(first, adjustment.touched_ids, slopes, adjustment.steepest))

    def clear(self) -> None:
        """Forget all slopes."""
        self._items.clear()

    def steepest(self) -> FloatArray:
        """Upper bound of the slopes of each row, float64 [m]; 1 where nothing scales a logit."""
        found = np.ones(self.rows)
        for item in self._items:
            found[item.first : item.first + len(item.slope_nu)] = item.steepest
        return found

    def at(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Slopes of (row, token id) pairs, float64 of their common shape; 1 for an id of -1."""
        rows, ids = np.broadcast_arrays(rows, ids)
        found = np.ones(ids.shape)
        for item in self._items:
            inside = (rows >= item.first) & (rows < item.first + len(item.slope_nu))
            column = np.searchsorted(item.touched_ids, ids)
            inside &= column < len(item.touched_ids)
            inside[inside] = item.touched_ids[column[inside]] == ids[inside]
            found[inside] = item.slope_nu[rows[inside] - item.first, column[inside]]
        return found
