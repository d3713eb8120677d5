"""The few candidates of each output position that could matter, as a table.

A *candidate table* is what is left of a replay: small enough to keep for every position, and complete for every
threshold within its window, so that calibration can try thresholds without replaying again.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.noise import GumbelNoise
from weightwarden.sampler.support import Filters, counts_above
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray, KeyArray
from weightwarden.verifier.logits.rows import LogitRows

HEAD_SIZE = 64
"""Largest logits looked at first; grown where top-k needs more."""
HEAD_RESERVE = 24
"""Candidates looked at beyond the top-k cut, for those within the slack of it."""

TIE_MARGIN = 1e-4
"""Margin, logits, of a candidate that ties exactly with the winner and loses by its id: engines take the lowest id.
Below every calibrated threshold, above every rounding that exact replay allows for."""


class Standing(IntEnum):
    """How it is known that the claimed token could have been claimed."""

    HELD = 0
    """Its logit is known whatever is claimed."""
    CLAIMED = 1
    """Its logit is known only because it is claimed."""
    DRAWN = 2
    """The trusted engine drew it, where scoring left the position open, whatever is claimed."""
    DRAWN_AGAINST = 3
    """The trusted engine drew it, where scoring settled the position without it."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """How far from the winner and from the cuts a candidate is kept.

    Attributes:
        margin: logits below the best sure candidate.
        logit_slacks: slacks at the top-k and min-p cuts and for rank swaps at the top-p cut, logits, ascending.
        mass_slack: slack at the top-p cut, probability mass at temperature 1 (scaled by 1 / temperature).
        least_slope: no slope is taken to be less: 1 where what differs is the sampler's own rounding, which a penalty
            that shrinks logits does not shrink.
    """

    margin: float
    logit_slacks: tuple[float, ...]
    mass_slack: float
    least_slope: float = 0.0

    def slopes(self, rows: LogitRows, row: IntArray, ids: IntArray) -> FloatArray:
        """Slopes of (row, token id) pairs (`LogitRows.slopes`)."""
        return np.maximum(rows.slopes(row, ids), self.least_slope)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What n output positions were drawn with, besides the logits; all of one scheme.

    Attributes:
        claimed_n: token ids that the log says were emitted.
        temperature_n: temperature of the draw; 1 where greedy.
        filters: the filters, at the temperature at which the engine applies them.
        top_p_of_everything: whether top-p counts the mass of the whole vocabulary, not of what top-k keeps.
        noise, keys_n: the Gumbel noise and its keys, or None (greedy, inverse-cdf).
        uniforms_n: the uniform numbers (inverse-cdf), or None.
        raw_rank_n: rank of the claimed token in the raw logits where penalties have changed them since, else 0.
    """

    claimed_n: IntArray
    temperature_n: FloatArray
    filters: Filters
    noise: GumbelNoise | None
    keys_n: KeyArray | None
    uniforms_n: FloatArray | None
    raw_rank_n: IntArray
    top_p_of_everything: bool = False

    @property
    def by_rank(self) -> bool:
        """Whether the noise belongs to ranks, not to token ids."""
        return self.noise is not None and self.noise.by_rank

    def perturbation(self, ids_nk: IntArray, rows: IntArray | None = None) -> FloatArray:
        """temperature * g of candidates [n, k], in logits; zero when greedy."""
        if self.noise is None or self.keys_n is None:
            return np.zeros(ids_nk.shape)
        keys, temperature = self.keys_n, self.temperature_n
        if rows is not None:
            keys, temperature = keys[rows], temperature[rows]
        return temperature[:, None] * self.noise.at(keys, ids_nk)

    def reach(
        self, scores_nk: FloatArray, perturbation_nk: FloatArray, rows: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The least and the largest perturbed logit [n, k] that the engine may have had for each of ours."""
        if self.noise is None:
            return scores_nk, scores_nk
        temperature = (self.temperature_n if rows is None else self.temperature_n[rows])[:, None]
        error = temperature * self.noise.error(perturbation_nk / temperature)
        return scores_nk - error, scores_nk + error


@dataclass(frozen=True, kw_only=True)
class CandidateTable:
    """Candidates of n positions; column 0 is the claimed token, unused columns have id -1 and score -inf.

    Attributes:
        ids_nk: token ids. slope_nk: by what factor errors of their raw logits are errors of the scores; 1 where unused.
        scores_nk: perturbed logits l + T g, logits; the engine emits the largest inside the support.
        score_min_nke, score_max_nke: bounds of the engine's own perturbed logit, logits, at each logit slack of the
            window: what its noise may differ by (`GumbelNoise.error`), and whose noise it is where ranks are unsure.
        logit_distance_nk: distance from the top-k and min-p cuts (`sampler.support.Support`), logits.
        mass_above_min_nke, mass_above_max_nke: bounds of the mass above a candidate at each logit slack of the window.
        top_p_n: the top-p cut; 1 where off. mass_scale_n: factor on the mass slack: the largest slope of a token that
            is nominally inside, by the temperature of the filters. steepest_n: no slope of the position exceeds it.
        exact_n: whether the claimed token is the argmax over the nominal support, or the engine was seen to draw it.
        logit_rank_n: rank of the claimed token in the raw logits, 1 is the largest; ties count as larger.
        gumbel_rank_n: rank of the claimed token among the perturbed logits of the nominal support; exact within the
            window, at least that far beyond it.
        cdf_low_n, cdf_high_n: distance of the claimed token's interval ends from the uniform number, in probability
            (inverse-cdf only, else nan).
        unseen_scores_nu: the largest perturbed logits that tokens whose logit is not known could have, for those that
            might stand in the support and reach the window; unused places are -inf.
        contradicted_n: whether the claimed token is outside the window, and the engine was not seen to draw it; or
            whether it was seen to draw another where the position was open.
        standing_n: `Standing` of the claimed token.
        open_n: whether something unseen could matter to the position: such a token, or probability that moves a cut.
    """

    ids_nk: IntArray
    slope_nk: FloatArray
    scores_nk: FloatArray
    score_min_nke: FloatArray
    score_max_nke: FloatArray
    logit_distance_nk: FloatArray
    mass_above_min_nke: FloatArray
    mass_above_max_nke: FloatArray
    top_p_n: FloatArray
    mass_scale_n: FloatArray
    steepest_n: FloatArray
    exact_n: BoolArray
    logit_rank_n: IntArray
    gumbel_rank_n: IntArray
    cdf_low_n: FloatArray
    cdf_high_n: FloatArray
    unseen_scores_nu: FloatArray
    contradicted_n: BoolArray
    standing_n: NDArray[np.int8]
    open_n: BoolArray

    def __len__(self) -> int:
        return len(self.ids_nk)

    def take(self, which: IntArray) -> "CandidateTable":
        """The candidates of some of the positions."""
        return CandidateTable(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Entries:
    """Candidates as a flat list [m], before they are laid out in columns."""

    row: IntArray
    token: IntArray
    score: FloatArray
    score_min_e: FloatArray
    score_max_e: FloatArray
    distance: FloatArray
    mass_min_e: FloatArray
    mass_max_e: FloatArray
    slope: FloatArray

    @classmethod
    def concat(cls, parts: "list[Entries]") -> "Entries":
        """All entries of several lists."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def take(self, which: BoolArray | IntArray) -> "Entries":
        """Some of the entries."""
        return Entries(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def replaced(self, at: IntArray, by: "Entries") -> "Entries":
        """These entries, with those at some places replaced."""
        arrays = {f.name: getattr(self, f.name).copy() for f in fields(self)}
        for name, array in arrays.items():
            array[at] = getattr(by, name)
        return Entries(**arrays)


def boundary(
    distance_nk: FloatArray,
    mass_min_nk: FloatArray,
    mass_max_nk: FloatArray,
    top_p_n: FloatArray,
    logit_slack: float,
    mass_slack_n: FloatArray,
) -> tuple[BoolArray, BoolArray]:
    """Candidates surely, and possibly, inside every cut (docs/design.md, section 6); two bool [n, k]."""
    no_top_p = (top_p_n >= 1)[:, None]
    sure = (distance_nk >= logit_slack) & (no_top_p | (mass_max_nk < (top_p_n - mass_slack_n)[:, None]))
    possible = (distance_nk > -logit_slack) & (no_top_p | (mass_min_nk < (top_p_n + mass_slack_n)[:, None]))
    return sure, possible


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
        slope_n, steepest_n: of `Support`, and of `LogitRows`; None where every slope is 1.
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
    """Values that are the same at every slack level, with that axis added last (a view)."""
    return np.broadcast_to(values[..., None], (*values.shape, levels))


def in_columns(row: IntArray, values: FloatArray, rows: int) -> FloatArray:
    """Values [m] of some rows (ascending) laid out in columns [rows, most of any row], -inf where unused."""
    counts = np.bincount(row, minlength=rows)
    table = np.full((rows, int(counts.max(initial=0))), -np.inf)
    table[row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)] = values
    return table


def logit_rank(rows: LogitRows, draws: Draws, head: FloatArray | None = None) -> IntArray:
    """Rank [n] of the claimed tokens in the raw logits: how many are not smaller, so that no two share a small rank.

    Args:
        head: the largest logits of each row, descending, where they are at hand.
    """
    value = rows.at(np.arange(len(rows)), draws.claimed_n)
    if head is None:
        head, _ = rows.head(np.arange(len(rows)), HEAD_SIZE)
    rank = counts_above(head, value[:, None], inclusive=True)[:, 0]
    known_down_to = head[:, -1] if rows.whole else rows.ceilings()
    deep = np.flatnonzero((value <= known_down_to) & (draws.raw_rank_n == 0))
    if len(deep):
        rank[deep] = rows.rank(deep, draws.claimed_n[deep])
    return np.where(draws.raw_rank_n > 0, draws.raw_rank_n, rank)


def filters_of(filters: Filters, rows: IntArray) -> Filters:
    """The filters of some of the positions."""
    return Filters(
        temperature_n=filters.temperature_n[rows],
        top_k_n=filters.top_k_n[rows],
        top_p_n=filters.top_p_n[rows],
        min_p_n=filters.min_p_n[rows],
    )
