"""Scores of the claimed tokens, with sure and possible candidates (docs/design.md, section 6)."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from weightwarden.sampler.support import slope_classes
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.table import TIE_MARGIN, CandidateTable, Standing, boundary
from weightwarden.verifier.columns import Columns


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Tolerated differences between an honest server's numbers and the replay's; all calibrated, larger accepts more.

    Attributes:
        margin: delta, logits below the best sure candidate at which a token still passes.
        logit_slack: logits by which a token may cross the top-k and min-p cuts, and swap ranks at the top-p cut.
        mass_slack: probability mass by which a token may cross the top-p cut, at temperature 1.
    """

    margin: float
    logit_slack: float
    mass_slack: float


@dataclass(frozen=True, kw_only=True)
class TokenScores(Columns):
    """Scores of n positions, one array each.

    Attributes:
        margin_n: the difference of errors, in raw logits, by which the claimed token would have won: the distance of
            its perturbed logit below a sure candidate's, divided by the larger of the two slopes
            (`sampler.support.Slopes`). The maximum is taken over all sure candidates of the table, with the engine's
            own noise within its error. Beyond the window, where slopes differ, the true margin may be larger. 0 if the
            token may not be below; inf if it is outside the support by more than the slack. Larger is less plausible.
        exact_n: whether the claimed token is the replay's own choice (no slack).
        logit_rank_n: rank of the claimed token in the raw logits, 1 is the most likely token; V + 1 outside the
            grammar.
        gumbel_rank_n: rank of the claimed token among the perturbed logits of the support.
        admissible_n: size of the admissible set A(delta), at least 1; unseen tokens that might belong to it count.
        unseen_n: number of unseen tokens among those.
        rival_margin_nk: margins of the other possible candidates within the window, logits; nan where there is none.
        unseen_margin_nu: the least possible margins of unseen tokens, logits; nan where there is none.
        contradicted_n: whether the claim is contradicted (`CandidateTable`).
        standing_n: the evidence that the claimed token could have been claimed (`Standing`). Other tokens that could
            have been claimed do not depend on a claim whose logit is known only because it is claimed.
    """

    margin_n: FloatArray
    exact_n: BoolArray
    logit_rank_n: IntArray
    gumbel_rank_n: IntArray
    admissible_n: IntArray
    rival_margin_nk: FloatArray
    unseen_n: IntArray
    unseen_margin_nu: FloatArray
    contradicted_n: BoolArray
    standing_n: NDArray[np.int8]


def without_evidence(scores: TokenScores, which_n: BoolArray) -> TokenScores:
    """The scores with some positions replaced by the replay's own choice, so that no test counts them."""
    return replace(
        scores,
        margin_n=np.where(which_n, 0.0, scores.margin_n),
        exact_n=scores.exact_n | which_n,
        contradicted_n=scores.contradicted_n & ~which_n,
        rival_margin_nk=np.where(which_n[:, None], np.nan, scores.rival_margin_nk),
        unseen_margin_nu=np.where(which_n[:, None], np.nan, scores.unseen_margin_nu),
    )


def score(table: CandidateTable, tolerance: Tolerance, slack_level: int) -> TokenScores:
    """Score the claimed tokens of a table.

    Args:
        slack_level: index of the level equal to `tolerance.logit_slack` in the window of the table.
    """
    sure, possible = boundary(
        table.logit_distance_nk,
        table.mass_above_min_nke[:, :, slack_level],
        table.mass_above_max_nke[:, :, slack_level],
        table.top_p_n,
        tolerance.logit_slack,
        tolerance.mass_slack * table.mass_scale_n,
    )
    score_min_nk, score_max_nk = table.score_min_nke[:, :, slack_level], table.score_max_nke[:, :, slack_level]
    ahead = sure.copy()  # the candidates from which margins are measured
    ahead[table.standing_n == Standing.CLAIMED, 0] = False
    best = np.where(ahead, score_min_nk, -np.inf).max(axis=1)
    margins = np.zeros(score_max_nk.shape)
    for mask, slope_n in slope_classes(table.slope_nk):
        best_of_class = np.where(ahead & mask, score_min_nk, -np.inf).max(axis=1)
        with np.errstate(invalid="ignore"):  # no sure candidate: -inf minus -inf
            behind = (best_of_class[:, None] - score_max_nk) / np.maximum(slope_n[:, None], table.slope_nk)
        margins = np.fmax(margins, behind)
    margins = np.where(np.isneginf(best)[:, None], 0.0, margins)
    margins = np.where(_loses_tie(table, score_min_nk, score_max_nk, ahead, best), TIE_MARGIN, margins)
    margins = np.where(possible, margins, np.inf)
    unseen_scores = np.where(np.isfinite(table.unseen_scores_nu), table.unseen_scores_nu, np.nan)
    unseen = np.maximum(best[:, None] - unseen_scores, 0.0) / table.steepest_n[:, None]
    unseen_n = (unseen <= tolerance.margin).sum(axis=1)
    admissible = np.maximum((margins <= tolerance.margin).sum(axis=1), 1) + unseen_n
    rivals = np.where(np.isfinite(margins[:, 1:]), margins[:, 1:], np.nan)
    return TokenScores(
        margin_n=margins[:, 0],
        exact_n=table.exact_n,
        logit_rank_n=table.logit_rank_n,
        gumbel_rank_n=table.gumbel_rank_n,
        admissible_n=admissible,
        rival_margin_nk=rivals,
        unseen_n=unseen_n,
        unseen_margin_nu=unseen,
        contradicted_n=table.contradicted_n,
        standing_n=table.standing_n,
    )


def _loses_tie(
    table: CandidateTable, score_min_nk: FloatArray, score_max_nk: FloatArray, sure: BoolArray, best_n: FloatArray
) -> BoolArray:
    """True for candidates [n, k] that lose a tie: their score equals the best sure score of a token with a lower id.

    False everywhere where the token is no argmax (inverse-cdf).
    """
    argmax = np.isnan(table.cdf_low_n)[:, None]
    lowest = np.where(sure & (score_min_nk == best_n[:, None]), table.ids_nk, np.iinfo(np.int64).max).min(axis=1)
    level = (score_max_nk == best_n[:, None]) & argmax
    lost: BoolArray = level & (table.ids_nk > lowest[:, None]) & np.isfinite(best_n)[:, None]
    return lost


def gumbel_likelihood_score(margin_n: FloatArray, noise_scale: float) -> FloatArray:
    """GM-LS: ln Phi(-margin / (sigma sqrt 2)), nats, at most ln(1/2); larger is more plausible (arXiv 2511.02620).

    The probability that two logits with Gaussian noise of standard deviation `noise_scale` (logits) swap places. It
    orders tokens like the margin.
    """
    values: FloatArray = log_ndtr(-margin_n / (noise_scale * np.sqrt(2.0)))
    return values


def inverse_transform_likelihood_score(low_n: FloatArray, high_n: FloatArray, noise_scale: float) -> FloatArray:
    """IPT-LS: ln of the probability that u + noise falls into the token's interval, nats (arXiv 2511.02620).

    Args:
        low_n: lower end of the claimed token's interval of the cumulative distribution, minus the uniform number u.
        high_n: upper end of the same interval, minus u.
        noise_scale: standard deviation of the Gaussian noise on u, probability.
    """
    # The tail on the side away from u, so that nothing cancels.
    flip = low_n > 0
    a = np.where(flip, -high_n, low_n) / noise_scale
    b = np.where(flip, -low_n, high_n) / noise_scale
    with np.errstate(divide="ignore"):
        values: FloatArray = np.log(np.maximum(ndtr(b) - ndtr(a), 0.0))
    return values
