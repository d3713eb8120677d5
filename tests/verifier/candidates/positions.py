"""Output positions whose candidates are known, and the scores of whatever an attacker chooses there."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.token_scores import TokenScores


@dataclass(frozen=True)
class Positions:
    """Margins [n, k], logits, of the candidates of n positions: the replay's own choice first, nan where there is none.

    A candidate index of k or more stands for a token outside of all of them, of logit rank 1 + (index - k).
    """

    margin_nk: FloatArray
    boundary_n: IntArray
    """How many of the candidates after the first have margin 0 for being on a boundary."""

    def take(self, choice_n: IntArray) -> TokenScores:
        n, k = self.margin_nk.shape
        inside = choice_n < k
        rows = np.arange(n)
        margin = np.where(inside, self.margin_nk[rows, np.minimum(choice_n, k - 1)], np.inf)
        rivals = self.margin_nk.copy()
        rivals[rows[inside], choice_n[inside]] = np.nan
        admissible = (self.margin_nk <= DELTA).sum(axis=1)
        return TokenScores(
            margin_n=margin,
            exact_n=choice_n == 0,
            logit_rank_n=np.where(inside, 1 + choice_n, 1 + choice_n - k),
            gumbel_rank_n=np.ones(n, np.int64),
            admissible_n=np.maximum(admissible, 1),
            rival_margin_nk=rivals,
            unseen_n=np.zeros(n, np.int64),
            unseen_margin_nu=np.empty((n, 0)),
            contradicted_n=np.zeros(n, np.bool_),
            standing_n=np.zeros(n, np.int8),
        )


DELTA = 0.1
"""Margin threshold of the bundled policy, logits."""


def like_recorded(rng: np.random.Generator, count: int) -> Positions:
    """Positions with as many alternatives as the recorded traffic has: a tenth of them within the threshold's reach."""
    margin = np.full((count, 4), np.nan)
    margin[:, 0] = 0
    boundary = (rng.random(count) < 0.02).astype(np.int64)
    margin[boundary > 0, 1] = 0
    for column, share in ((2, 0.4), (3, 0.1)):
        there = rng.random(count) < share
        margin[there, column] = rng.uniform(0.0005, 1.0, int(there.sum()))
    return Positions(margin, boundary)
