"""The token noise: the probability that an honest server emits a token at a margin below the replay's own choice."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.statistics.intervals import clustered_rate

MARGIN_EDGES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Bins of the margin, logits: a candidate of margin m is in bin i when edge[i] < m <= edge[i + 1]."""


@dataclass(frozen=True, kw_only=True)
class TokenNoise:
    """The calibrated token noise: for each bin of margins, the share of candidates that honest traffic took.

    An honest server emits a candidate at a margin m below the replay's own choice with some probability G(m), at most
    1/2 and falling with m. G is a property of two implementations of one model, in logits, and does not depend on the
    sampling parameters. It is counted here, with no assumption about its shape except that it does not rise.

    Attributes:
        edges_b: bin edges, logits, one more than there are bins.
        upper_b: upper confidence bound of G in each bin (97.5%, record-clustered), lowered to the bound of any smaller
            margin. Where G is flat over several bins that is the least of their bounds, and covers less (83% over
            thirteen equal bins in simulation).
        outlier_margin: margin beyond which a token is an *outlier*.
        outlier_upper: upper confidence bound of the probability that an honest token is an outlier.
        boundary_upper: upper confidence bound (97.5%, record-clustered) of the share of boundary alternatives
            (`boundary_counts`) that honest traffic took; 1 where too few were seen. None in a policy that was made
            before there was one, and where drafts decide them (`Scheme.speculates`): then no test counts them.
    """

    edges_b: FloatArray
    upper_b: FloatArray
    outlier_margin: float
    outlier_upper: float
    boundary_upper: float | None = None

    @classmethod
    def from_counts(
        cls,
        exposures_rb: FloatArray,
        chosen_rb: FloatArray,
        beyond_rb: FloatArray,
        boundary_rc: FloatArray,
        tokens_r: FloatArray,
        *,
        outlier_margin: float | None = None,
    ) -> Self:
        """The noise from counts by record.

        Args:
            exposures_rb: candidates of each bin.
            chosen_rb: candidates of each bin that were claimed.
            beyond_rb: tokens whose margin exceeds each edge.
            boundary_rc: boundary alternatives offered, and those that were claimed.
            tokens_r: tokens of each record.
            outlier_margin: one of `MARGIN_EDGES`, chosen on other counts. If omitted, the least one that honest tokens
                seldom enough exceed.
        """
        bins = range(exposures_rb.shape[1])
        upper = np.array([_rate_upper(chosen_rb[:, b], exposures_rb[:, b], unknown=0.5) for b in bins])
        outlier = [clustered_rate(beyond_rb[:, e], tokens_r).high for e in range(beyond_rb.shape[1])]
        small = [e for e, rate in enumerate(outlier) if rate <= FLAG_LEVEL]
        edge = small[0] if small else len(outlier) - 1
        if outlier_margin is not None:
            edge = MARGIN_EDGES.index(outlier_margin)
        return cls(
            edges_b=np.array(MARGIN_EDGES),
            upper_b=np.minimum.accumulate(np.minimum(upper, 0.5)),
            outlier_margin=MARGIN_EDGES[edge],
            outlier_upper=outlier[edge],
            boundary_upper=_rate_upper(boundary_rc[:, 1], boundary_rc[:, 0], unknown=1.0),
        )

    def bins(self, margins: FloatArray) -> IntArray:
        """Bin of each margin: 0 ... B - 1; -1 where the margin is 0 or nan; B where it is beyond the last edge."""
        return margin_bins(margins, self.edges_b)

    @property
    def upper_c(self) -> FloatArray:
        """Upper bounds by class (`verifier.scoring.codes.classes`): of the boundary (1 without one), of the bins."""
        return np.append(1.0 if self.boundary_upper is None else self.boundary_upper, self.upper_b)

    @property
    def probabilities(self) -> FloatArray:
        """Upper bounds for bins 0 ... B. The last is the bound, for a position, of a token beyond every edge."""
        return np.append(self.upper_b, self.outlier_upper)

    @property
    def costs(self) -> FloatArray:
        """-ln of the probabilities, nats: the cost of a token of each bin to its record."""
        costs: FloatArray = -np.log(self.probabilities)
        return costs


def _rate_upper(events_r: FloatArray, trials_r: FloatArray, *, unknown: float) -> float:
    """Upper 97.5% clustered limit of a rate; `unknown` where fewer than two records have trials."""
    return clustered_rate(events_r, trials_r).high if (trials_r > 0).sum() > 1 else unknown


def margin_bins(margins: FloatArray, edges_b: FloatArray) -> IntArray:
    """Bin of each margin; see `TokenNoise.bins`."""
    found = np.searchsorted(edges_b, margins, side="left") - 1
    return np.where(np.isnan(margins) | (margins <= 0), -1, found)


def noise_counts(scores: TokenScores) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Exposures [n, B], chosen [n, B], beyond [n, B + 1] and boundary [n, 2], the summands of `from_counts`."""
    edges = np.array(MARGIN_EDGES)
    count = len(edges) - 1
    chosen = one_hot(margin_bins(scores.margin_n, edges), count + 1)[:, :count]
    exposures = chosen + rival_counts(scores.rival_margin_nk, edges)[:, :count]
    beyond = (scores.margin_n[:, None] > edges[None, :]).astype(np.float64)
    return exposures, chosen, beyond, np.stack(boundary_counts(scores), axis=1).astype(np.float64)


def boundary_counts(scores: TokenScores) -> tuple[IntArray, BoolArray]:
    """Boundary alternatives of each position: tokens of margin 0 that are not the replay's choice itself.

    They, or the choice, may lie on either side of a cut.

    Returns:
        The number offered [n], the claimed one included. Whether one was claimed [n].
    """
    level_n = (scores.rival_margin_nk == 0).sum(axis=1)
    taken_n = ~scores.exact_n & (scores.margin_n == 0)
    # One of the rivals of margin 0 is the choice, unless the claimed token is.
    return np.where(scores.exact_n, level_n, np.maximum(level_n - 1, 0)) + taken_n, taken_n


def rival_counts(margin_nk: FloatArray, edges_b: FloatArray) -> FloatArray:
    """Number of rivals in each bin at each position, float64 [n, B + 1]."""
    counts = np.zeros((len(margin_nk), len(edges_b)))
    bins = margin_bins(margin_nk, edges_b)
    row, column = np.nonzero(bins >= 0)
    np.add.at(counts, (row, bins[row, column]), 1.0)
    return counts


def one_hot(bins_n: IntArray, count: int) -> FloatArray:
    """Float64 [n, count], one in the column of each bin; a bin of -1 has none."""
    hot = np.zeros((len(bins_n), count))
    rows = np.flatnonzero(bins_n >= 0)
    hot[rows, bins_n[rows]] = 1.0
    return hot


def fit_noise_scale(scores: list[TokenScores]) -> float:
    """Standard deviation sigma of one logit's Gaussian noise, logits, by maximum likelihood over honest positions.

    Each candidate at margin m was taken with probability Phi(-m / (sigma sqrt 2)) (GM-LS, arXiv 2511.02620). Margins
    beyond the last edge are left out: they are outliers, not Gaussian noise.
    """
    taken = np.concatenate([s.margin_n for s in scores])
    taken = taken[(taken > 0) & (taken <= MARGIN_EDGES[-1])]
    left = np.concatenate([s.rival_margin_nk[s.rival_margin_nk > 0] for s in scores])
    left = left[left <= MARGIN_EDGES[-1]]

    def loss(log_scale: float) -> float:
        width = np.exp(log_scale) * np.sqrt(2.0)
        return -float(log_ndtr(-taken / width).sum() + log_ndtr(left / width).sum())

    result = minimize_scalar(loss, bounds=(np.log(1e-5), np.log(10.0)), method="bounded")
    return float(np.exp(result.x))
