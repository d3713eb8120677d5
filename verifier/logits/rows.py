"""Rows of logits as scoring sees them: the few numbers that it takes from them, wherever they are."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.types import FloatArray, IntArray


class LogitRows(Protocol):
    """Logits of m output positions over a vocabulary of V tokens, all of them or the few that matter.

    Everything that scoring needs leaves the device as arrays of candidates; the [m, V] block never does. `rows` are
    row numbers, int64; tokens are named by id. Rows that are not whole *hold* some tokens of each row, the claimed one
    among them, and bound all others; scoring charges what a bound cannot exclude.
    """

    @property
    def vocabulary(self) -> int:
        """V, tokens."""
        ...

    @property
    def whole(self) -> bool:
        """Whether every logit is held; `log_mass` and `row` may be called only then."""
        ...

    def __len__(self) -> int:
        """m, positions."""
        ...

    def head(self, rows: IntArray, size: int) -> tuple[FloatArray, IntArray]:
        """The `size` largest logits of each row, descending, and their token ids; float64 and int64 [rows, width].

        Rows that are not whole give all that they hold; missing places have logit -inf and id -1.

        Raises:
            ReplayError: a row holds nan or +inf, or nothing finite; comparisons with it would pass in silence.
        """
        ...

    def at(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Logits of held (row, token id) pairs, float64 of the pairs' common shape."""
        ...

    def rank(self, rows: IntArray, claimed: IntArray) -> IntArray:
        """Rank of each row's claimed token among the row's logits, 1 is the largest, int64 [rows]: how many
        are not smaller.

        Exact before `adjust`.
        """
        ...

    def ceilings(self) -> FloatArray:
        """No logit that a row does not hold exceeds its ceiling; -inf where all are held. Float64 [m]."""
        ...

    def bounds(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Upper bounds of the logits of (row, token id) pairs that are not held, float64 [pairs]."""
        ...

    def drawn(self) -> IntArray:
        """The token that the trusted engine itself was seen to draw in each row, int64 [m]; -1 where it was not.

        It then stood above every other token of the support, seen or not. Such tokens are held.
        """
        ...

    def claim_only(self) -> IntArray:
        """The claimed token of each row that is held only because it is claimed, int64 [m]; -1 where it is held anyway.

        What else could have been claimed must not depend on such a token.
        """
        ...

    def draw_again(self) -> bool:
        """Have the trusted engine draw the tokens itself, where that can be done and has not been; else False.

        Raises:
            ReplayError: the source failed.
        """
        ...

    def deepen(self, rows: IntArray) -> bool:
        """Learn more about the tokens that some rows do not hold, at some cost; False when there is nothing to learn.

        Raises:
            ReplayError: the source failed.
        """
        ...

    def log_mass(self, rows: IntArray, temperature: FloatArray, floor: FloatArray, largest: FloatArray) -> FloatArray:
        """ln of the sum of exp(logit / temperature) over the logits of each row >= its floor, float64 [rows].

        Args:
            floor: -inf where everything counts.
            largest: the largest logit of each row.
        """
        ...

    def adjust(self, first_row: int, count: int, start: int, adjustment: LogitAdjustment) -> None:
        """Apply a choice's bias, masks and penalties to rows [first_row, first_row + count), in place, once.

        Args:
            start: output position of the first of these rows.
        """
        ...

    def slopes(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """By what factor errors of raw logits are errors of these (row, token id) pairs, float64 of their common shape.

        1 unless `adjust` applied a repetition penalty.
        """
        ...

    def steepest(self) -> FloatArray:
        """No slope of a row exceeds this, float64 [m]; at least 1."""
        ...

    def row(self, row: int) -> NDArray[np.float32]:
        """One whole row [V]."""
        ...
