import itertools
from math import comb, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.bandwidth import (
    binary_entropy,
    combinatorial_bound,
    entropy,
    geometric_entropy,
    mismatch_bound,
    pooled_bound,
)
from weightwarden.verifier.statistics.errors import StatisticsError


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_no_more_outputs_fit_a_budget_than_the_pooled_bound_says(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.exponential(1.0, (6, 3)) * rng.integers(0, 2, (6, 3))
    costs[:, 1:][rng.random((6, 2)) < 0.3] = np.inf
    totals = np.array([sum(path) for path in itertools.product(*costs)])
    budget = float(np.quantile(totals[np.isfinite(totals)], share))
    accepted = int((totals <= budget * (1 + 1e-12)).sum())
    assert log2(accepted) <= pooled_bound(costs, budget).bits + 1e-6


def test_the_pooled_bound_is_least_at_its_lambda() -> None:
    rng = np.random.default_rng(1)
    costs = rng.exponential(1.0, (50, 4))
    costs[:, 0] = 0
    found = pooled_bound(costs, 12.0)
    assert found.tilt > 0
    for tilt in np.linspace(0, 5 * found.tilt, 101):
        at_tilt = (tilt * 12.0 + np.log(np.exp(-tilt * costs).sum(axis=1)).sum()) / np.log(2)
        assert found.bits <= at_tilt + 1e-9


def test_a_budget_that_does_not_bind_is_the_counting_bound() -> None:
    costs = np.array([[0.0, 1.0, 2.0], [0.0, np.inf, np.inf]])
    found = pooled_bound(costs, 100.0)
    assert found.bits == pytest.approx(log2(3))
    assert found.tilt == 0


def test_a_budget_of_nothing_leaves_ties() -> None:
    costs = np.array([[0.0, 0.0, 1.0], [0.5, 0.5, 0.5], [1.0, 2.0, np.inf]])
    assert pooled_bound(costs, 1.5).bits == pytest.approx(log2(2) + log2(3), abs=1e-6)


@pytest.mark.parametrize("size", [2, 3, 50_000])
@pytest.mark.parametrize("rate", [1e-6, 0.02, 0.3])
def test_cost_one_a_mismatch_is_the_closed_form(size: int, rate: float) -> None:
    costs = np.ones((1, size))
    costs[0, 0] = 0
    tokens = 10_000_000
    found = pooled_bound(costs, rate * tokens, np.array([tokens])).bits / tokens
    assert found == pytest.approx(mismatch_bound(rate, size), rel=1e-6)


def test_minus_log_likelihood_at_its_honest_mean_is_the_honest_entropy() -> None:
    rng = np.random.default_rng(2)
    honest = rng.dirichlet([5.0, 0.5, 0.2], 200)
    costs = -np.log(honest)
    budget = float((honest * costs).sum())
    found = pooled_bound(costs, budget)
    assert found.tilt == pytest.approx(1.0)
    assert found.bits == pytest.approx(float(entropy(honest).sum()))


def test_the_combinatorial_bound_counts() -> None:
    for tokens, altered, size in ((10, 3, 4), (7, 7, 2), (5, 0, 9), (6, 9, 3)):
        count = sum(comb(tokens, j) * (size - 1) ** j for j in range(min(altered, tokens) + 1))
        assert combinatorial_bound(tokens, altered, size) == pytest.approx(log2(count), abs=1e-9)
    assert combinatorial_bound(10, 10, 4) == pytest.approx(20)
    assert combinatorial_bound(1000, 10, 1) == pytest.approx(0, abs=1e-9)


def test_millions_of_tokens_agree_with_the_limit() -> None:
    tokens = 5_000_000
    exact = combinatorial_bound(tokens, tokens // 100, 50_000) / tokens
    assert exact == pytest.approx(mismatch_bound(0.01, 50_000), rel=1e-4)
    assert exact <= mismatch_bound(0.01, 50_000)


@pytest.mark.parametrize("tokens", [10**9, 10**15])
def test_the_combinatorial_bound_keeps_its_digits(tokens: int) -> None:
    exact = log2(1 + 2 * tokens + 4 * comb(tokens, 2))
    assert combinatorial_bound(tokens, 2, 3) == pytest.approx(exact, rel=1e-12)
    assert combinatorial_bound(tokens, 5_000_000, 3) == pytest.approx(tokens * mismatch_bound(5e6 / tokens, 3))


def test_a_budget_without_end_is_the_counting_bound_and_none_at_all_is_an_error() -> None:
    assert pooled_bound(np.array([[0.0, 1.0]]), np.inf).bits == pytest.approx(1)
    with pytest.raises(StatisticsError, match="budget"):
        pooled_bound(np.array([[0.0, 1.0]]), np.nan)


def test_a_mismatch_bound_never_exceeds_the_set() -> None:
    assert mismatch_bound(0.9, 3) == log2(3)
    assert mismatch_bound(0.0, 3) == 0
    assert mismatch_bound(0.5, 1) == 0
    assert mismatch_bound(0.5, 2) == 1


def test_entropies() -> None:
    assert binary_entropy(0.5) == pytest.approx(1)
    assert binary_entropy(0.0) == 0
    assert entropy(np.array([[0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]])) == pytest.approx([2, 0])


def test_a_count_says_most_when_it_is_geometric() -> None:
    for mean in (0.1, 1.0, 50.0):
        k = np.arange(20_000, dtype=np.float64)
        law = (mean / (1 + mean)) ** k / (1 + mean)
        assert geometric_entropy(mean) == pytest.approx(float(entropy(law)), rel=1e-6)
    assert geometric_entropy(0.0) == 0
    assert geometric_entropy(1e17) == pytest.approx(log2(1e17) + 1 / np.log(2))
    assert poisson.entropy(1.0) / np.log(2) < geometric_entropy(1.0)


@pytest.mark.parametrize(
    ("costs", "budget", "message"),
    [
        (np.array([[0.0, 1.0], [np.inf, np.inf]]), 1.0, "needs a candidate"),
        (np.array([[-1.0, 1.0]]), 1.0, "at least 0"),
        (np.array([[np.nan, 1.0]]), 1.0, "at least 0"),
        (np.empty((0, 2)), 1.0, "needs a candidate"),
        (np.array([[2.0, 3.0]]), 1.0, "accepts no output"),
    ],
)
def test_what_has_no_bound_is_an_error(costs: FloatArray, budget: float, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        pooled_bound(costs, budget)
    with pytest.raises(StatisticsError):
        mismatch_bound(1.5, 3)
    with pytest.raises(StatisticsError):
        combinatorial_bound(10, -1, 3)
