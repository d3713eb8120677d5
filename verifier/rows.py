"""Rows of logits as scoring sees them: the few numbers that it takes from them, wherever they are."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sampler.logits import LogitAdjustment
from sampler.types import FloatArray, IntArray


class LogitRows(Protocol):
    """Logits of m output positions over a vocabulary of V tokens.

    Everything that scoring needs leaves the device as arrays of candidates; the [m, V] block never does. `rows` are
    row numbers, int64; tokens are named by id.
    """

    @property
    def vocabulary(self) -> int:
        """V, tokens."""
        ...

    def __len__(self) -> int:
        """m, positions."""
        ...

    def head(self, rows: IntArray, size: int) -> tuple[FloatArray, IntArray]:
        """The `size` largest logits of each row, descending, and their token ids; float64 and int64 [rows, size].

        Raises:
            ReplayError: a row holds nan or +inf, or nothing finite; comparisons with it would pass in silence.
        """
        ...

    def at(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Logits of (row, token id) pairs, float64 of the pairs' common shape."""
        ...

    def count_above(self, rows: IntArray, thresholds: FloatArray) -> IntArray:
        """How many logits of each row exceed its threshold, int64 [rows]."""
        ...

    def log_mass(self, rows: IntArray, temperature: FloatArray, floor: FloatArray, largest: FloatArray) -> FloatArray:
        """ln of the sum of exp(logit / temperature) over the logits of each row >= its floor, float64 [rows].

        Args:
            floor: -inf where everything counts.
            largest: the largest logit of each row.
        """
        ...

    def adjust(self, first_row: int, count: int, start: int, adjustment: LogitAdjustment) -> None:
        """Apply a choice's bias, masks and penalties to rows [first_row, first_row + count), in place.

        Args:
            start: output position of the first of these rows.
        """
        ...

    def whole(self, row: int) -> NDArray[np.float32]:
        """One whole row [V]."""
        ...
