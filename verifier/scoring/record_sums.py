"""Fast sums over the positions of records, for positions of a record that mostly lie together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.candidates.table import Standing
from weightwarden.verifier.scoring.token_scores import TokenScores

GRID = 2.0**32


def scatter_add(
    total_r: "FloatArray | IntArray",
    record_n: IntArray,
    values_n: "NDArray[np.generic] | float",
    times_n: IntArray | None = None,
) -> None:
    """Add values [n, ...] to the totals [records, ...] of their records, in place.

    Values that are not integers are rounded to 1 / `GRID`. Sums up to 2^20 are then exact, and do not depend on how a
    record's positions are split.

    Args:
        times_n: multiplicity of each value; 1 if omitted.
    """
    values: NDArray[Any] = np.broadcast_to(np.asarray(values_n, total_r.dtype), (len(record_n), *total_r.shape[1:]))
    if not len(values):
        return
    if total_r.dtype.kind == "f":
        values = np.rint(values * GRID) / GRID
    if times_n is not None:
        values = values * times_n.astype(total_r.dtype).reshape(-1, *[1] * (values.ndim - 1))
    starts = _starts(record_n)
    np.add.at(total_r, record_n[starts], np.add.reduceat(values, starts, axis=0))


def compress_plain_positions(record_n: IntArray, scores: TokenScores) -> tuple[IntArray, IntArray]:
    """Positions that represent all positions in sums over records, with their multiplicities.

    A *plain* position is the replay's own choice with no rival in the window. All plain positions of one record add the
    same to every sum, and most positions are plain.

    Returns:
        Indices and multiplicities, int64.
    """
    plain = scores.exact_n & (scores.margin_n == 0) & (scores.admissible_n == 1) & ~scores.contradicted_n
    plain &= scores.standing_n == Standing.HELD
    for margins in (scores.rival_margin_nk, scores.unseen_margin_nu):
        plain &= np.isnan(margins).all(axis=1)
    others, at = np.flatnonzero(~plain), np.flatnonzero(plain)
    if not len(at):
        return others, np.ones(len(others), np.int64)
    starts = _starts(record_n[at])
    times = np.diff(np.append(starts, len(at)))
    return np.concatenate([others, at[starts]]), np.concatenate([np.ones(len(others), np.int64), times])


def _starts(record_n: IntArray) -> IntArray:
    """First positions of the runs of one record."""
    return np.flatnonzero(np.concatenate([[True], record_n[1:] != record_n[:-1]]))
