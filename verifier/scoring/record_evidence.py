"""Hypothesis tests of one record (outlier count, total cost) against the calibrated noise, and their p-value."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from weightwarden.sampler.types import IntArray
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.noise_model import TokenNoise, boundary_counts, one_hot, rival_counts
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.statistics.rounding import upper

TILTS = np.linspace(0.0, 1.0, 26)
"""Values of lambda tried in the Chernoff bound."""


MIN_BOUND = 1e-300
"""Smallest probability in reports; smaller ones, and impossible events, are written as this."""


def bound_text(bound: float) -> str:
    """Text of an upper bound of a probability, rounded up, for reports."""
    return f"p <= {upper(max(bound, MIN_BOUND))}"


@dataclass(frozen=True, kw_only=True)
class RecordEvidence:
    """Evidence about one record.

    Attributes:
        tokens: output tokens.
        outliers: tokens beyond the outlier margin.
        worst_p: probability bound that an honest record of this length has so many outliers; 1 with fewer than two.
        total_p: probability bound that the costs of an honest record, given its positions, reach this record's total
            without its most expensive token.
        outlier_margin: logits beyond which a token is an outlier.
        p_value: share of honest records, at most, that look like this one by either test (Bonferroni over the two).
        reasons: the tests that flag the record, if any.
    """

    tokens: int
    outliers: int
    worst_p: float
    total_p: float
    outlier_margin: float

    @property
    def p_value(self) -> float:
        return min(1.0, 2.0 * min(self.worst_p, self.total_p))

    @property
    def reasons(self) -> list[str]:
        reasons = []
        if 2 * self.worst_p <= FLAG_LEVEL:
            reasons.append(
                f"worst tokens: {self.outliers} of {self.tokens} tokens beyond {self.outlier_margin:g} logits"
                f" (honest: {bound_text(self.worst_p)})"
            )
        if 2 * self.total_p <= FLAG_LEVEL:
            reasons.append(f"total: its tokens together are too implausible (honest: {bound_text(self.total_p)})")
        return reasons


class RecordEvidenceAccumulator:
    """Accumulator of the positions of many records, in any order, for the evidence about each record.

    *Worst tokens*: the outliers of an honest record of n tokens are at most Binomial(n, r), r the upper bound of the
    outlier rate. *Total*: with cost c(m) = -ln G(m) for a token of margin m, and position t offering candidates of
    margins m_tv, the honest total C obeys for every lambda >= 0 the Chernoff bound

        ln P(C >= c) <= sum_t ln(1 + sum_v G(m_tv) (exp(lambda c(m_tv)) - 1)) - lambda c,

    minimised over lambda; a token beyond every edge counts at every position with the outlier rate, and a boundary
    alternative with its own bound in place of G where the noise has one (otherwise it costs nothing). The most
    expensive token is left out of the total, so that a lone token never flags its record. Assumes that, given the
    replayed candidates, tokens are independent, and that the upper bounds of G hold.
    """

    def __init__(self, noise: TokenNoise, records: int) -> None:
        self._noise = noise
        self._tokens = np.zeros(records, np.int64)
        self._outliers = np.zeros(records, np.int64)
        self._total = np.zeros(records)
        self._dearest = np.zeros(records)
        self._log_moment = np.zeros((records, len(TILTS)))
        probabilities, costs = noise.probabilities, noise.costs
        self._lift = probabilities[:, None] * np.expm1(costs[:, None] * TILTS[None, :])  # [B + 1, tilts]
        boundary = 1.0 if noise.boundary_upper is None else noise.boundary_upper
        self._boundary_cost = -float(np.log(boundary))
        self._boundary_lift = boundary * np.expm1(self._boundary_cost * TILTS)

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions (`Accumulator`)."""
        noise, bins = self._noise, self._noise.bins(scores.margin_n)
        boundary_n, taken_n = boundary_counts(scores)
        costs = np.where(bins >= 0, np.append(noise.costs, 0.0)[bins], self._boundary_cost * taken_n)
        boundary_n = boundary_n + (scores.unseen_margin_nu == 0).sum(axis=1)
        rivals = np.hstack([scores.rival_margin_nk, scores.unseen_margin_nu])
        offered = one_hot(bins, len(noise.edges_b)) + rival_counts(rivals, noise.edges_b)
        offered[:, -1] = 1.0
        lift_nk = offered @ self._lift + boundary_n[:, None] * self._boundary_lift
        scatter_add(self._tokens, record_n, 1, times_n)
        scatter_add(self._outliers, record_n, scores.margin_n > noise.outlier_margin, times_n)
        scatter_add(self._total, record_n, costs, times_n)
        np.maximum.at(self._dearest, record_n, costs)
        scatter_add(self._log_moment, record_n, np.log1p(lift_nk), times_n)

    def evidence(self, record: int) -> RecordEvidence:
        """Evidence about one record. All of its positions must have been added before.

        Raises:
            ValueError: no position of the record has been added.
        """
        tokens, outliers = int(self._tokens[record]), int(self._outliers[record])
        if not tokens:
            raise ValueError(f"record {record} has no replayed position")
        worst = float(binom.sf(outliers - 1, tokens, self._noise.outlier_upper)) if outliers > 1 else 1.0
        exponent = self._log_moment[record] - TILTS * (self._total[record] - self._dearest[record])
        return RecordEvidence(
            tokens=tokens,
            outliers=outliers,
            worst_p=worst,
            total_p=float(np.exp(min(0.0, exponent.min()))),
            outlier_margin=self._noise.outlier_margin,
        )
