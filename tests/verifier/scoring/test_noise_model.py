from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.noise_model import (
    MARGIN_EDGES,
    TokenNoise,
    boundary_counts,
    fit_noise_scale,
    margin_bins,
    noise_counts,
    one_hot,
)
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.statistics.intervals import clustered_rate

EDGES = np.array(MARGIN_EDGES)
BINS = len(MARGIN_EDGES) - 1


def scores_of(margin_n: FloatArray, rival_nk: FloatArray) -> TokenScores:
    nothing = np.ones(len(margin_n), np.int64)
    return TokenScores(
        margin_n=margin_n,
        exact_n=margin_n == 0,
        logit_rank_n=nothing,
        gumbel_rank_n=nothing,
        admissible_n=nothing,
        rival_margin_nk=rival_nk,
        unseen_n=0 * nothing,
        unseen_margin_nu=np.empty((len(margin_n), 0)),
        contradicted_n=np.zeros(len(margin_n), np.bool_),
        standing_n=np.zeros(len(margin_n), np.int8),
    )


# Bins


def test_a_bin_holds_its_upper_edge_and_not_its_lower_one() -> None:
    assert margin_bins(EDGES, EDGES).tolist() == [-1, *range(BINS)]
    assert margin_bins(np.nextafter(EDGES, np.inf), EDGES).tolist() == list(range(BINS + 1))
    assert margin_bins(np.nextafter(EDGES[1:], 0.0), EDGES).tolist() == list(range(BINS))


def test_margin_zero_negative_or_nan_is_in_no_bin_and_infinity_in_the_last() -> None:
    assert margin_bins(np.array([0.0, -0.0, -1.0, -np.inf, np.nan]), EDGES).tolist() == [-1] * 5
    assert margin_bins(np.array([1.5, 1e9, np.inf]), EDGES).tolist() == [BINS] * 3


def test_bins_keep_the_shape_of_the_margins() -> None:
    assert margin_bins(np.full((3, 2), 0.05), EDGES).tolist() == [[4, 4]] * 3


def test_one_hot_has_a_one_in_the_column_of_each_bin_and_none_for_no_bin() -> None:
    assert one_hot(np.array([2, -1, 0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_counts_of_a_position_are_its_rivals_and_its_token_by_bin() -> None:
    margins = np.array([0.0, 0.05, np.inf, 0.3])
    rivals = np.array([[0.05, 0.06, np.nan], [0.0, 2.0, 0.005], [np.nan, 1.0, 0.0], [0.0, 0.25, 0.9]])
    exposures, chosen, beyond, boundary = noise_counts(scores_of(margins, rivals))
    assert [np.repeat(np.arange(BINS), row.astype(int)).tolist() for row in exposures] == [
        [4, 4],
        [0, 4],
        [12],
        [10, 10, 12],
    ]
    assert [np.flatnonzero(row).tolist() for row in chosen] == [[], [4], [], [10]]
    assert beyond.sum(axis=1).tolist() == [0, 5, BINS + 1, 11]
    assert beyond[3, MARGIN_EDGES.index(0.2)] == 1
    assert beyond[3, MARGIN_EDGES.index(0.3)] == 0
    assert boundary.tolist() == [[0, 0], [0, 0], [0, 0], [0, 0]]


def test_boundary_alternatives_are_tokens_of_margin_zero_that_are_not_the_choice() -> None:
    margins = np.array([0.0, 0.0, 0.0, 0.3, np.inf])
    rivals = np.array([[0.0, 0.0], [0.0, 0.02], [np.nan, np.nan], [0.0, 0.0], [0.0, np.nan]])
    scores = replace(scores_of(margins, rivals), exact_n=np.array([True, False, True, False, False]))
    offered, taken = boundary_counts(scores)
    assert offered.tolist() == [2, 1, 0, 1, 0]  # one of the rivals is the choice where the claimed token is not
    assert taken.tolist() == [False, True, False, False, False]
    assert noise_counts(scores)[3].tolist() == np.stack([offered, taken], axis=1).tolist()


# Bounds


BOUNDARY = 0.18
"""Share of boundary alternatives that simulated traffic takes, as recorded traffic does."""


def simulated_noise(
    rng: np.random.Generator, true_b: FloatArray, records: int, exposures: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Arguments of `from_counts` for records whose candidates of bin b are taken with probability true_b[b].

    Each record offers three boundary alternatives, which are taken with probability `BOUNDARY`.
    """
    offered = rng.poisson(exposures, (records, BINS))
    chosen = rng.binomial(offered, true_b).astype(np.float64)
    beyond = np.column_stack([chosen[:, edge:].sum(axis=1) for edge in range(BINS + 1)])
    boundary = np.column_stack([np.full(records, 3.0), rng.binomial(3, BOUNDARY, records)])
    return offered.astype(np.float64), chosen, beyond, boundary, np.full(records, 120.0)


def test_upper_bounds_never_rise_and_never_exceed_a_half() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        shape = rng.uniform(0, 1, BINS)  # rising, falling, above a half: whatever the counts say
        exposures = 10.0 ** rng.uniform(-1, 2)
        upper = TokenNoise.from_counts(*simulated_noise(rng, shape, int(rng.integers(2, 30)), exposures)).upper_b
        assert upper.shape == (BINS,)
        assert (np.diff(upper) <= 0).all()
        assert ((upper > 0) & (upper <= 0.5)).all()


def test_upper_bounds_cover_a_falling_probability_in_every_bin() -> None:
    rng, runs = np.random.default_rng(2), 300
    true_b = ndtr(-EDGES[1:] / 0.15)
    covered = np.zeros(BINS)
    for _ in range(runs):
        covered += TokenNoise.from_counts(*simulated_noise(rng, true_b, 60, 30.0)).upper_b >= true_b
    assert covered.min() >= binom.ppf(0.025 / BINS, runs, 0.975), covered / runs  # thirteen bins at once


def test_the_bound_of_the_boundary_covers_its_share() -> None:
    rng, runs = np.random.default_rng(6), 300
    upper = [TokenNoise.from_counts(*simulated_noise(rng, np.zeros(BINS), 60, 1.0)).boundary_upper for _ in range(runs)]
    covered = sum(bound is not None and bound >= BOUNDARY for bound in upper)
    assert covered >= binom.ppf(0.025, runs, 0.975)
    assert np.median(np.array(upper, np.float64)) < 1.5 * BOUNDARY


def test_there_is_no_bound_of_the_boundary_below_one_where_fewer_than_two_records_offered_any() -> None:
    arguments = simulated_noise(np.random.default_rng(7), np.full(BINS, 0.1), 40, 30.0)
    arguments[3][1:] = 0.0
    assert TokenNoise.from_counts(*arguments).boundary_upper == 1.0


def test_upper_bounds_approach_the_probability_as_traffic_grows() -> None:
    rng = np.random.default_rng(3)
    true_b = ndtr(-EDGES[1:] / 0.15)
    few, many = (TokenNoise.from_counts(*simulated_noise(rng, true_b, 60, size)).upper_b for size in (5.0, 2000.0))
    assert (np.abs(many - true_b) < 0.01).all()
    assert (few - true_b).sum() > 5 * np.abs(many - true_b).sum()


def test_bin_that_fewer_than_two_records_offered_is_bounded_by_its_neighbour_or_a_half() -> None:
    offered, chosen, beyond, boundary, tokens = simulated_noise(np.random.default_rng(4), np.full(BINS, 0.1), 40, 30.0)
    for column in (0, 1, 7):
        offered[1:, column] = chosen[:, column] = 0.0
    upper = TokenNoise.from_counts(offered, chosen, beyond, boundary, tokens).upper_b
    assert upper[:2].tolist() == [0.5, 0.5]
    assert upper[7] == upper[6] < 0.2


@pytest.mark.parametrize("edge", range(BINS + 1))
def test_outlier_margin_is_the_smallest_that_few_enough_honest_tokens_exceed(edge: int) -> None:
    """500 records of 120 tokens: 30 tokens are beyond the edge and later ones, 250 beyond those before it."""
    records = 500
    beyond = np.zeros((records, BINS + 1))
    beyond[:30, edge:] = 1.0
    beyond[:250, :edge] = 1.0
    tokens = np.full(records, 120.0)
    nothing = np.zeros((records, BINS))
    found = TokenNoise.from_counts(nothing + 1, nothing, beyond, np.zeros((records, 2)), tokens)
    assert found.outlier_margin == MARGIN_EDGES[edge]
    assert found.outlier_upper == clustered_rate(beyond[:, edge], tokens).high <= FLAG_LEVEL
    if edge:
        assert clustered_rate(beyond[:, edge - 1], tokens).high > FLAG_LEVEL


def test_outlier_margin_is_the_last_edge_where_traffic_is_too_little_for_any() -> None:
    tokens = np.full(10, 100.0)
    nothing = np.zeros((10, BINS))
    found = TokenNoise.from_counts(nothing + 1, nothing, np.zeros((10, BINS + 1)), np.zeros((10, 2)), tokens)
    assert found.outlier_margin == MARGIN_EDGES[-1]
    assert found.outlier_upper == clustered_rate(np.zeros(10), tokens).high > FLAG_LEVEL


def test_costs_are_minus_ln_of_the_bounds_and_never_fall() -> None:
    found = TokenNoise.from_counts(*simulated_noise(np.random.default_rng(5), ndtr(-EDGES[1:] / 0.1), 60, 30.0))
    assert found.probabilities.shape == found.costs.shape == (BINS + 1,)
    assert found.probabilities[:-1].tolist() == found.upper_b.tolist()
    assert np.exp(-found.costs) == pytest.approx(found.probabilities)
    assert (np.diff(found.costs) >= 0).all()
    margins = np.array([0.0, 0.05, 7.0])
    assert found.bins(margins).tolist() == margin_bins(margins, EDGES).tolist() == [-1, 4, BINS]


# The scale of Gaussian noise


def gaussian_scores(rng: np.random.Generator, scale: float, positions: int) -> TokenScores:
    """Positions of ten candidates whose tokens a server drew from scores with Gaussian noise of its own."""
    replayed = rng.gumbel(size=(positions, 10)) + rng.normal(0, 1.5, (positions, 10))
    served = replayed + rng.normal(0, scale, replayed.shape)
    margins = replayed.max(axis=1)[:, None] - replayed
    taken = served.argmax(axis=1)[:, None]
    rivals = np.where(margins > 1.0, np.nan, margins)  # the window
    np.put_along_axis(rivals, taken, np.nan, 1)
    return scores_of(np.take_along_axis(margins, taken, 1)[:, 0], rivals)


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.1, 0.2])
def test_fit_recovers_the_scale_of_gaussian_noise(scale: float) -> None:
    rng = np.random.default_rng(6)
    parts = [gaussian_scores(rng, scale, 10_000) for _ in range(4)]
    assert fit_noise_scale(parts) == pytest.approx(scale, rel=0.15)


def test_fit_leaves_out_outliers() -> None:
    scores = gaussian_scores(np.random.default_rng(7), 0.05, 20_000)
    margins = scores.margin_n.copy()
    margins[::500] = np.where(np.arange(len(margins[::500])) % 2, np.inf, 5.0)
    assert fit_noise_scale([scores_of(margins, scores.rival_margin_nk)]) == pytest.approx(0.05, rel=0.15)
