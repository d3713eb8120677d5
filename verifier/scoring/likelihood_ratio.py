"""Likelihood ratios of the claimed tokens, given the candidates: bets against an honest server's choices.

Given the candidates of a position, an honest server takes alternative v with a probability of at most u_v, the upper
bound of its margin's bin. A bet gives the replay's own choice weight 1 and alternative v a weight a_v >= 1. The factor

    a_claimed / (1 + sum_v u_v (a_v - 1))

has an expectation of at most 1 under every such server, since the expectation of a rises with each probability. The
product over a record's tokens is the record's e-value. The bounds, and not the sampling parameters or the prompts,
decide it: it holds for traffic with other candidates than the calibration traffic.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.table import Standing
from weightwarden.verifier.scoring.codes import classes
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores

ADMISSIBLE_SHARES = np.array([1.0, 0.3, 0.1, 0.03])
"""Bets that the server takes admissible tokens uniformly at this share of the positions, and is honest elsewhere."""
TILTS = np.array([0.15, 0.3, 0.5])
"""Bets lambda that the server's noise is wider: alternatives have weight u^-lambda."""
OUTSIDE_BETS = 5
"""Number of bets that more tokens than an honest server's are outside the bins: from odds twice as large to a share of
one in five."""
RESOLUTION = 2.0**-10
"""Step to which the ln of a record's e-value is rounded down, nats, so that every stored form holds the same value."""
LARGEST = 2.0**13
"""Largest ln of a record's e-value that is kept, nats."""
STEPS = 3
"""Iterations of the share of the choice in `_admissible_weights`; any number gives a valid bet."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodRatioBets:
    """The bets against an honest server under a policy.

    Tokens are of the classes of `PooledCode`: 0 is the boundary, 1 ... B are the bins of the margin. The *outside* is
    every token of a margin beyond `outside_margin`.

    Attributes:
        edges_b: bin edges, logits.
        upper_c: u, the largest probability of an honest token of each class, [B + 1]; 1 where no bound is known, and
            nothing is bet.
        admissible_margin: delta, logits, within which a server takes tokens uniformly.
        outside_margin: logits; at least the last edge.
        outside_upper: the largest probability, at a position, of an honest token outside.
        exact: True for exact replay, whose only bets are on the outside.
    """

    edges_b: FloatArray
    upper_c: FloatArray
    admissible_margin: float
    outside_margin: float
    outside_upper: float
    exact: bool

    def __len__(self) -> int:
        """Number of bets."""
        return OUTSIDE_BETS + (0 if self.exact else len(ADMISSIBLE_SHARES) + len(TILTS))

    @cached_property
    def _outside_weight_k(self) -> FloatArray:
        """Weight of a token outside under each bet."""
        odds = np.geomspace(2, max(4, 0.25 / self.outside_upper), OUTSIDE_BETS)
        if self.exact:
            return odds
        return np.concatenate([np.ones(len(ADMISSIBLE_SHARES)), self.outside_upper**-TILTS, odds])

    @cached_property
    def _fixed_weight_kc(self) -> FloatArray:
        """Weights of the classes under the bets whose weights do not depend on the position."""
        tilted = self.upper_c ** -TILTS[:, None]
        return np.vstack([tilted, np.ones((OUTSIDE_BETS, len(self.upper_c)))])

    def log_factors(self, scores: TokenScores) -> FloatArray:
        """ln of the factor of each position under each bet, float64 [n, K], nats."""
        outside_n = (scores.margin_n > self.outside_margin) & ~scores.exact_n
        outside_k = self._outside_weight_k
        moment_nk = np.broadcast_to(self.outside_upper * (outside_k - 1), (len(scores), len(outside_k))).copy()
        log_weight_nk = np.where(outside_n[:, None], np.log(outside_k), 0.0)
        if not self.exact:
            class_n, offered_nc = self._classes(scores)
            some = np.flatnonzero(offered_nc.any(axis=1))
            weight_nkc = self._weights(offered_nc[some])
            lift_nkc = self.upper_c * (weight_nkc - 1)
            moment_nk[some] += (lift_nkc @ offered_nc[some][:, :, None])[:, :, 0]
            taken = np.flatnonzero(class_n[some] >= 0)
            rows = some[taken]
            log_weight_nk[rows] += np.log(weight_nkc[taken, :, class_n[rows]])
        factors: FloatArray = log_weight_nk - np.log1p(moment_nk)
        return factors

    def _classes(self, scores: TokenScores) -> tuple[IntArray, FloatArray]:
        """The class [n] of each claimed token, -1 where it is the choice or nothing is bet on it, and the alternatives
        [n, C] that could have been claimed, whatever token is.
        """
        class_n, offered_nc = classes(self.edges_b, scores)
        count = offered_nc.shape[1]
        unheld_n = (class_n >= 0) & (class_n < count) & (scores.standing_n == Standing.CLAIMED)
        rows = np.flatnonzero(unheld_n)
        offered_nc[rows, class_n[rows]] -= 1  # known only because it is claimed
        return np.where(unheld_n | (class_n >= count), -1, class_n), offered_nc

    def _weights(self, offered_nc: FloatArray) -> FloatArray:
        """Weights [n, K, C] of the classes at positions with these alternatives."""
        fixed_nkc = np.broadcast_to(self._fixed_weight_kc, (len(offered_nc), *self._fixed_weight_kc.shape))
        return np.concatenate([self._admissible_weights(offered_nc), fixed_nkc], axis=1)

    def _admissible_weights(self, offered_nc: FloatArray) -> FloatArray:
        """Weights [n, shares, C] of the bets that admissible tokens are taken uniformly.

        The best bet for an attacker's law q against all laws of an honest server is the likelihood ratio against the
        honest law nearest to q: min(u_v, k q_v) for alternatives and k q_0 for the choice, with k so that they add up
        to 1 (the reverse information projection, Grünwald, de Heide and Koolen 2024).
        """
        inside_c = np.append(True, self.edges_b[1:] <= self.admissible_margin) & (self.upper_c < 1)
        size_n = 1 + offered_nc @ inside_c.astype(np.float64)
        uniform_nec = (ADMISSIBLE_SHARES[:, None] * inside_c) / size_n[:, None, None]
        honest_nc = np.where(self.upper_c < 1, self.upper_c, 0.0)
        honest_nc = honest_nc / np.maximum(1.0, 2 * (offered_nc @ honest_nc))[:, None]
        attack_nec = uniform_nec + (1 - ADMISSIBLE_SHARES)[:, None] * honest_nc[:, None, :]
        offered_nec = offered_nc[:, None, :]
        choice_ne = np.maximum(1 - (attack_nec * offered_nec).sum(axis=2), 1e-9)
        k_ne = np.ones(choice_ne.shape)
        for _ in range(STEPS):
            bound_nec = k_ne[:, :, None] * attack_nec > self.upper_c
            free_ne = choice_ne + (attack_nec * offered_nec * ~bound_nec).sum(axis=2)
            k_ne = np.maximum(1 - (self.upper_c * offered_nec * bound_nec).sum(axis=2), 0.0) / free_ne
        weights: FloatArray = np.maximum(k_ne[:, :, None] * attack_nec / self.upper_c, 1.0)
        return weights


class LikelihoodRatioAccumulator:
    """Accumulator of the ln of each record's e-value under each bet.

    Positions decided by rounding errors count against a record's e-value and never for it, since they are looked for
    only where there is evidence against a record.
    """

    def __init__(self, bets: LikelihoodRatioBets, records: int) -> None:
        self._bets = bets
        self._log_ratio_rk = np.zeros((records, len(bets)))

    def add(
        self,
        record_n: IntArray,
        scores: TokenScores,
        times_n: IntArray | None = None,
        unsteady_n: BoolArray | None = None,
    ) -> None:
        """Add positions (`Accumulator`).

        Args:
            unsteady_n: positions decided by rounding errors; none if omitted.
        """
        factors_nk = self._bets.log_factors(scores)
        if unsteady_n is not None:
            factors_nk[unsteady_n] = np.minimum(factors_nk[unsteady_n], 0.0)
        scatter_add(self._log_ratio_rk, record_n, factors_nk, times_n)

    @property
    def log_ratio_rk(self) -> FloatArray:
        """ln of the e-value of each record under each bet, nats, rounded down to `RESOLUTION`. 0 without tokens."""
        rounded = np.floor(self._log_ratio_rk / RESOLUTION) * RESOLUTION
        return np.clip(rounded, -LARGEST, LARGEST)
