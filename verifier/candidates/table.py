"""The few relevant candidates of each output position, as a table.

A *candidate table* is the result of a replay: small enough to keep for every position, and complete for every threshold
within its window, so that calibration can try thresholds without replaying again.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.columns import Columns

TIE_MARGIN = 1e-4
"""Margin, logits, of a candidate that ties exactly with the winner and loses by its id: engines take the lowest id.
Below every calibrated threshold, above every rounding that exact replay allows for."""


class Standing(IntEnum):
    """The evidence that the claimed token could have been claimed."""

    HELD = 0
    """The logit is known whatever token is claimed."""
    CLAIMED = 1
    """The logit is known only because the token is claimed."""
    DRAWN = 2
    """The trusted engine drew the token where scoring left the position open, whatever token is claimed."""
    DRAWN_AGAINST = 3
    """The trusted engine drew the token where scoring had decided for another."""


@dataclass(frozen=True, kw_only=True)
class CandidateTable(Columns):
    """Candidates of n positions; column 0 is the claimed token, unused columns have id -1 and score -inf.

    Attributes:
        ids_nk: token ids.
        slope_nk: factor from errors of the raw logits to errors of the scores; 1 where unused.
        scores_nk: perturbed logits l + T g, logits; the engine emits the largest inside the support.
        score_min_nke: lower bound of the engine's own perturbed logit, logits, at each logit slack of the window:
            includes the error of its noise (`GumbelNoise.error`), and the possible ranks where ranks are unsure.
        score_max_nke: upper bound of the engine's own perturbed logit, logits, at each logit slack of the window.
        logit_distance_nk: distance from the top-k and min-p cuts (`sampler.support.Support`), logits.
        mass_above_min_nke: lower bound of the mass above a candidate at each logit slack of the window.
        mass_above_max_nke: upper bound of the mass above a candidate at each logit slack of the window.
        top_p_n: the top-p cut; 1 where off.
        mass_scale_n: factor on the mass slack: the largest slope of a token that is nominally inside, divided by the
            temperature of the filters.
        steepest_n: upper bound of the slopes of the position.
        exact_n: whether the claimed token is the argmax over the nominal support, or the engine was observed to draw
            it.
        logit_rank_n: rank of the claimed token in the raw logits, 1 is the largest; ties count as larger. Tokens that
            a grammar excludes are not counted, and have rank V + 1.
        gumbel_rank_n: rank of the claimed token among the perturbed logits of the nominal support; exact within the
            window, a lower bound beyond it.
        cdf_low_n: distance of the lower end of the claimed token's interval from the uniform number, in probability
            (inverse-cdf only, else nan).
        cdf_high_n: distance of the upper end of the same interval from the uniform number.
        unseen_scores_nu: the largest possible perturbed logits of tokens of unknown logit that might be in the support
            and reach the window; unused places are -inf.
        contradicted_n: whether the claimed token is outside the window and the engine was not observed to draw it, or
            the engine was observed to draw another where the position was open.
        standing_n: `Standing` of the claimed token.
        open_n: whether an unseen token, or unseen probability that moves a cut, could matter to the position.
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


def boundary(
    distance_nk: FloatArray,
    mass_min_nk: FloatArray,
    mass_max_nk: FloatArray,
    top_p_n: FloatArray,
    logit_slack: float,
    mass_slack_n: FloatArray,
) -> tuple[BoolArray, BoolArray]:
    """Candidates surely, and candidates possibly, inside every cut (docs/design.md, section 6); two bool [n, k]."""
    no_top_p = (top_p_n >= 1)[:, None]
    sure = (distance_nk >= logit_slack) & (no_top_p | (mass_max_nk < (top_p_n - mass_slack_n)[:, None]))
    possible = (distance_nk > -logit_slack) & (no_top_p | (mass_min_nk < (top_p_n + mass_slack_n)[:, None]))
    return sure, possible
