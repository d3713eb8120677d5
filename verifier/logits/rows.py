"""Rows of logits as scoring reads them: a few numbers of each row, on any device."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.logits.token_masks import TokenMasks


class LogitRows(Protocol):
    """Logits of m output positions over a vocabulary of V tokens, all of them or only the relevant ones.

    The inputs of scoring leave the device as arrays of candidates; the [m, V] block never does. `rows` are row numbers,
    int64; tokens are named by id. Rows that are not whole *hold* some tokens of each row, the claimed one included, and
    bound all others. Scoring charges every token that a bound cannot exclude.
    """

    @property
    def vocabulary(self) -> int:
        """V, tokens."""
        ...

    @property
    def whole(self) -> bool:
        """True if every logit is held. Only then may `log_mass` and `row` be called."""
        ...

    def __len__(self) -> int:
        """m, positions."""
        ...

    def head(self, rows: IntArray, size: int) -> tuple[FloatArray, IntArray]:
        """The `size` largest logits of each row, descending, and their token ids; float64 and int64 [rows, width].

        Rows that are not whole return all tokens that they hold. Missing places have logit -inf and id -1.

        Raises:
            ReplayError: a row holds nan or +inf, or nothing finite. Comparisons with these would pass silently.
        """
        ...

    def at(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Logits of held (row, token id) pairs, float64 of the pairs' common shape."""
        ...

    def rank(self, rows: IntArray, claimed: IntArray) -> IntArray:
        """Rank of each row's claimed token, 1 is the largest, int64 [rows]: the number of logits that are not smaller.

        Exact before `adjust`.
        """
        ...

    def ceilings(self) -> FloatArray:
        """Upper bound of the logits that each row does not hold, float64 [m]; -inf where all are held."""
        ...

    def bounds(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Upper bounds of the logits of (row, token id) pairs that are not held, float64 [pairs]."""
        ...

    def drawn(self) -> IntArray:
        """The token that the trusted engine itself was observed to draw in each row, int64 [m]; -1 where none was.

        Its score was above that of every other token of the support, seen or unseen. Drawn tokens are held.
        """
        ...

    def claim_only(self) -> IntArray:
        """The claimed token of each row that is held only because it is claimed, int64 [m]; -1 where it is held anyway.

        The other tokens that could have been claimed must not depend on it.
        """
        ...

    def draw_again(self) -> bool:
        """Have the trusted engine draw the tokens itself. False if that cannot be done, or has been done already.

        Raises:
            ReplayError: the source failed.
        """
        ...

    def deepen(self, rows: IntArray) -> bool:
        """Learn more about the tokens that some rows do not hold, at some cost. False if there is nothing to learn.

        Raises:
            ReplayError: the source failed.
        """
        ...

    def log_mass(self, rows: IntArray, temperature: FloatArray, floor: FloatArray, largest: FloatArray) -> FloatArray:
        """ln of the sum of exp(logit / temperature) over the logits of each row >= its floor, float64 [rows].

        Args:
            floor: least logit that counts; -inf for all.
            largest: the largest logit of each row.
        """
        ...

    def mask(self, first_row: int, masks: TokenMasks) -> None:
        """Exclude tokens from rows [first_row, first_row + n), in place, once, before every adjustment.

        A token that its row's mask does not allow has logit -inf from then on, and no rank below V.
        """
        ...

    def candidates(self) -> IntArray:
        """Upper bound of the number of tokens that masks leave in each row, held or not, int64 [m]."""
        ...

    def adjust(self, first_row: int, count: int, start: int, adjustment: LogitAdjustment) -> None:
        """Apply a choice's bias, masks and penalties to rows [first_row, first_row + count), in place, once.

        Args:
            start: output position of the first of these rows.
        """
        ...

    def slopes(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Factors from errors of raw logits to errors of these (row, token id) pairs, float64 of their common shape.

        1 unless `adjust` applied a repetition penalty.
        """
        ...

    def steepest(self) -> FloatArray:
        """Upper bound of the slopes of each row, float64 [m]; at least 1."""
        ...

    def row(self, row: int) -> NDArray[np.float32]:
        """One whole row [V]."""
        ...
