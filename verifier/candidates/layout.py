"""Layout of candidates in a table: from a flat list of entries to columns."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.support import Filters
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.columns import Columns


@dataclass(frozen=True, kw_only=True)
class Entries(Columns):
    """Candidates as a flat list [m], before their layout in columns."""

    row: IntArray
    token: IntArray
    score: FloatArray
    score_min_e: FloatArray
    score_max_e: FloatArray
    distance: FloatArray
    mass_min_e: FloatArray
    mass_max_e: FloatArray
    slope: FloatArray

    def replaced(self, at: IntArray, by: "Entries") -> "Entries":
        """The entries with some of them replaced."""
        arrays = {f.name: getattr(self, f.name).copy() for f in fields(self)}
        for name, array in arrays.items():
            array[at] = getattr(by, name)
        return Entries(**arrays)


def lay_out(
    claimed: Entries,
    others: Entries,
    *,
    filters: Filters,
    slope_n: FloatArray | None = None,
    steepest_n: FloatArray | None = None,
    exact_n: BoolArray,
    logit_rank_n: IntArray,
    gumbel_rank_n: IntArray,
    cdf_low_n: FloatArray | None = None,
    cdf_high_n: FloatArray | None = None,
    unseen_scores_nu: FloatArray | None = None,
    contradicted_n: BoolArray | None = None,
    standing_n: NDArray[np.int8] | None = None,
    open_n: BoolArray | None = None,
) -> CandidateTable:
    """The table of the claimed tokens (one a row, in order) and the other candidates (any order).

    Args:
        slope_n: `Support.slope_n`; None where every slope is 1.
        steepest_n: `LogitRows.steepest`; None where every slope is 1.
    """
    n, levels = len(claimed.row), claimed.mass_min_e.shape[1]
    order = np.argsort(others.row, kind="stable")
    row = others.row[order]
    counts = np.bincount(row, minlength=n)
    column = 1 + np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = 1 + int(counts.max(initial=0))
    ids = np.full((n, width), -1, np.int64)
    slope = np.ones((n, width))
    scores = np.full((n, width), -np.inf)
    score_min = np.full((n, width, levels), -np.inf)
    score_max = np.full((n, width, levels), -np.inf)
    distance = np.full((n, width), -np.inf)
    mass_min = np.ones((n, width, levels))
    mass_max = np.ones((n, width, levels))
    for rows_, columns_, entries, pick in (
        (claimed.row, np.zeros(n, np.int64), claimed, slice(None)),
        (row, column, others, order),
    ):
        ids[rows_, columns_] = entries.token[pick]
        slope[rows_, columns_] = entries.slope[pick]
        scores[rows_, columns_] = entries.score[pick]
        score_min[rows_, columns_] = entries.score_min_e[pick]
        score_max[rows_, columns_] = entries.score_max_e[pick]
        distance[rows_, columns_] = entries.distance[pick]
        mass_min[rows_, columns_] = entries.mass_min_e[pick]
        mass_max[rows_, columns_] = entries.mass_max_e[pick]
    nothing, ones = np.full(n, np.nan), np.ones(n)
    return CandidateTable(
        ids_nk=ids,
        slope_nk=slope,
        scores_nk=scores,
        score_min_nke=score_min,
        score_max_nke=score_max,
        logit_distance_nk=distance,
        mass_above_min_nke=mass_min,
        mass_above_max_nke=mass_max,
        top_p_n=filters.top_p_n,
        mass_scale_n=(ones if slope_n is None else slope_n) / filters.temperature_n,
        steepest_n=ones if steepest_n is None else steepest_n,
        exact_n=exact_n,
        logit_rank_n=logit_rank_n,
        gumbel_rank_n=gumbel_rank_n,
        cdf_low_n=nothing if cdf_low_n is None else cdf_low_n,
        cdf_high_n=nothing if cdf_high_n is None else cdf_high_n,
        unseen_scores_nu=np.empty((n, 0)) if unseen_scores_nu is None else unseen_scores_nu,
        contradicted_n=np.zeros(n, np.bool_) if contradicted_n is None else contradicted_n,
        standing_n=np.zeros(n, np.int8) if standing_n is None else standing_n,
        open_n=np.zeros(n, np.bool_) if open_n is None else open_n,
    )


def at_levels(values: FloatArray, levels: int) -> FloatArray:
    """Values that are equal at every slack level, with that axis added last (a view)."""
    return np.broadcast_to(values[..., None], (*values.shape, levels))


def in_columns(row: IntArray, values: FloatArray, rows: int) -> FloatArray:
    """Values [m] of some rows (ascending) laid out in columns [rows, largest number in a row], -inf where unused."""
    counts = np.bincount(row, minlength=rows)
    table = np.full((rows, int(counts.max(initial=0))), -np.inf)
    table[row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)] = values
    return table
