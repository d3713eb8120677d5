"""Window of a candidate table: the limits of the candidates kept, and the number of logits inspected for them."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.logits.rows import LogitRows

HEAD_SIZE = 64
"""Number of largest logits inspected at first; grown where top-k needs more."""
HEAD_RESERVE = 24
"""Number of candidates inspected beyond the top-k cut, for those within the slack of it."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Largest distance from the winner and from the cuts at which a candidate is kept.

    Attributes:
        margin: logits below the best sure candidate.
        logit_slacks: slacks at the top-k and min-p cuts and for rank swaps at the top-p cut, logits, ascending.
        mass_slack: slack at the top-p cut, probability mass at temperature 1 (scaled by 1 / temperature).
        least_slope: lower limit of slopes: 1 if only the sampler's own rounding differs, which a penalty that shrinks
            logits does not shrink.
    """

    margin: float
    logit_slacks: tuple[float, ...]
    mass_slack: float
    least_slope: float = 0.0

    def slopes(self, rows: LogitRows, row: IntArray, ids: IntArray) -> FloatArray:
        """Slopes of (row, token id) pairs (`LogitRows.slopes`)."""
        return np.maximum(rows.slopes(row, ids), self.least_slope)
