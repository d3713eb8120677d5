"""The published margin score as a baseline: GM-LS of arXiv 2511.02620, written from the paper.

The replay filters its own logits like the server does, adds the noise, and scores the claimed token by ln Phi(-margin /
(sigma sqrt 2)); a token outside the replay's support scores minus infinity. There is no allowance for a cut that
rounding moves. A token that passes a threshold tau is safe; the admissible set holds all tokens that would have passed.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from benchmarks.trade_off.replayed import WINDOW
from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.scoring.token_scores import TokenScores

_UNMOVED = WINDOW.logit_slacks.index(0.0)
"""The level of the tables at which no cut is moved."""


def gm_ls(margin_n: FloatArray, sigma: float) -> FloatArray:
    """ln Phi(-margin / (sigma sqrt 2)), nats; larger is more plausible.

    Args:
        margin_n: logits below the replay's choice, inf outside its support.
        sigma: standard deviation of one logit.
    """
    values: FloatArray = log_ndtr(-margin_n / (sigma * np.sqrt(2.0)))
    return values


@dataclass(frozen=True)
class Published:
    """The score by margins, which order tokens like GM-LS for any sigma."""

    def scores(self, table: CandidateTable) -> TokenScores:
        """Margins of the claimed tokens and of their rivals; every token of the window is known (whole rows)."""
        support_nk = self.support(table)
        score_nk = np.where(support_nk, table.scores_nk, -np.inf)
        best_n = score_nk.max(axis=1)
        margin_nk = np.where(support_nk, best_n[:, None] - score_nk, np.inf)
        return TokenScores(
            margin_n=margin_nk[:, 0],
            exact_n=table.exact_n,
            logit_rank_n=table.logit_rank_n,
            gumbel_rank_n=table.gumbel_rank_n,
            admissible_n=np.ones(len(table), np.int64),
            rival_margin_nk=np.where(np.isfinite(margin_nk[:, 1:]), margin_nk[:, 1:], np.nan),
            unseen_n=np.zeros(len(table), np.int64),
            unseen_margin_nu=np.empty((len(table), 0)),
            contradicted_n=table.contradicted_n,
            standing_n=table.standing_n,
        )

    def support(self, table: CandidateTable) -> BoolArray:
        """Candidates [n, k] that the replay's own top-k, min-p and top-p keep."""
        top_p = table.top_p_n[:, None]
        nucleus: BoolArray = (top_p >= 1) | (table.mass_above_min_nke[:, :, _UNMOVED] < top_p)
        return nucleus & (table.logit_distance_nk >= 0) & np.isfinite(table.scores_nk)
