import numpy as np
import pytest
from scipy.stats import binomtest, hypergeom

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.intervals import (
    Interval,
    clopper_pearson,
    clustered_mean,
    clustered_rate,
    hypergeometric_interval,
)

RUNS = 1000
# rate, correlation of two tokens of one record, records: overdispersed, with events in enough records to see it.
OVERDISPERSED = [(0.3, 0.05, 60), (0.02, 0.01, 60), (0.02, 0.05, 200), (0.001, 0.01, 300)]


def allowance(coverage: float, runs: int) -> float:
    """Two standard errors of a share of simulated runs."""
    return 2 * float(np.sqrt(coverage * (1 - coverage) / runs))


def beta_binomial_records(
    rng: np.random.Generator, rate: float, correlation: float, records: int
) -> tuple[FloatArray, FloatArray]:
    """Events and tokens of records of 50 to 199 tokens whose own rates are spread around `rate`."""
    tokens = rng.integers(50, 200, records)
    own_rate = np.full(records, rate)
    if correlation > 0:
        strength = 1 / correlation - 1
        own_rate = rng.beta(rate * strength, (1 - rate) * strength, records)
    return rng.binomial(tokens, own_rate).astype(np.float64), tokens.astype(np.float64)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 1), (1, 1), (0, 40), (40, 40), (1, 40), (17, 40), (3, 10_000), (9_999, 10_000)]
)
def test_clopper_pearson_equals_scipys_exact_interval(successes: int, trials: int, confidence: float) -> None:
    found = clopper_pearson(successes, trials, confidence)
    expected = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert found.value == successes / trials
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


def test_clopper_pearson_of_real_counts_lies_between_those_of_whole_counts() -> None:
    below, between, above = (clopper_pearson(successes, 50.0) for successes in (7.0, 7.4, 8.0))
    assert below.low < between.low < above.low
    assert below.high < between.high < above.high


@pytest.mark.parametrize("trials", [0, -1])
def test_rate_of_no_trials_is_an_error(trials: int) -> None:
    with pytest.raises(ValueError, match="zero trials"):
        clopper_pearson(0, trials)


@pytest.mark.parametrize(
    ("rate", "correlation", "records"),
    [*OVERDISPERSED, (0.9, 0.2, 60), (0.3, 0.0, 20), (0.02, 0.0, 60), (0.001, 0.0, 60), (0.001, 0.002, 300)],
)
def test_clustered_rate_covers_the_rate_of_beta_binomial_records(rate: float, correlation: float, records: int) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(RUNS):
        interval = clustered_rate(*beta_binomial_records(rng, rate, correlation, records))
        covered += interval.low <= rate <= interval.high
    assert covered / RUNS >= 0.95 - allowance(0.95, RUNS)


@pytest.mark.parametrize(("rate", "correlation", "records"), OVERDISPERSED)
def test_counting_tokens_as_independent_misses_the_rate_of_the_same_records(
    rate: float, correlation: float, records: int
) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(RUNS):
        events, tokens = beta_binomial_records(rng, rate, correlation, records)
        interval = clopper_pearson(float(events.sum()), float(tokens.sum()))
        covered += interval.low <= rate <= interval.high
    assert covered / RUNS < 0.9


def test_clustered_rate_of_independent_tokens_is_little_wider_than_the_exact_interval() -> None:
    events, tokens = beta_binomial_records(np.random.default_rng(2), 0.1, 0.0, 400)
    clustered = clustered_rate(events, tokens)
    exact = clopper_pearson(float(events.sum()), float(tokens.sum()))
    assert clustered.value == exact.value
    assert exact.high - exact.low <= clustered.high - clustered.low <= 1.2 * (exact.high - exact.low)


@pytest.mark.parametrize("events", [0.0, 1.0])
def test_clustered_rate_without_variation_is_the_exact_interval(events: float) -> None:
    tokens = np.array([10.0, 30.0, 5.0])
    assert clustered_rate(events * tokens, tokens) == clopper_pearson(events * 45.0, 45.0)


def test_records_without_trials_do_not_count_towards_a_rate() -> None:
    events, tokens = np.array([1.0, 0.0, 4.0, 2.0]), np.array([10.0, 30.0, 25.0, 40.0])
    padded = clustered_rate(np.append(events, [0.0, 0.0]), np.append(tokens, [0.0, 0.0]))
    assert padded == clustered_rate(events, tokens)


@pytest.mark.parametrize("tokens", [[], [20.0], [20.0, 0.0], [0.0, 0.0]])
def test_clustered_rate_of_fewer_than_two_records_with_trials_is_an_error(tokens: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two records"):
        clustered_rate(np.zeros(len(tokens)), np.array(tokens))


@pytest.mark.parametrize(("shape", "records"), [(8.0, 60), (8.0, 200), (1.0, 1000)])
def test_clustered_mean_covers_where_an_interval_of_independent_tokens_does_not(shape: float, records: int) -> None:
    """Bits per token of records with a gamma-distributed mean of their own; Poisson within a record."""
    rng, mean, runs = np.random.default_rng(1), 0.13, 2000
    covered = covered_as_independent = 0
    for _ in range(runs):
        tokens = rng.integers(50, 200, records).astype(np.float64)
        bits = rng.poisson(rng.gamma(shape, mean / shape, records) * tokens).astype(np.float64)
        interval = clustered_mean(bits, tokens)
        covered += interval.low <= mean <= interval.high
        half = 1.96 * np.sqrt(interval.value / tokens.sum())
        covered_as_independent += abs(interval.value - mean) <= half
    assert covered / runs >= 0.95 - allowance(0.95, runs)
    assert covered_as_independent / runs < 0.85


def test_clustered_mean_weighs_records_by_their_tokens() -> None:
    interval = clustered_mean(np.array([10.0, 1.0, 3.0]), np.array([10.0, 90.0, 100.0]))
    assert interval.value == pytest.approx(14 / 200)
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("records", [0, 1])
def test_clustered_mean_of_fewer_than_two_records_is_an_error(records: int) -> None:
    with pytest.raises(ValueError, match="at least two records"):
        clustered_mean(np.ones(records), 10.0 * np.ones(records))


@pytest.mark.parametrize(("population", "sample"), [(30, 10), (60, 59), (25, 25)])
def test_hypergeometric_interval_covers_every_population(population: int, sample: int) -> None:
    for total in range(population + 1):
        counts = np.arange(max(0, sample - (population - total)), min(sample, total) + 1)
        covered = [hypergeometric_interval(int(k), sample, population, 0.9) for k in counts]
        inside = np.array(
            [i.low <= total / population + 1e-12 and total / population <= i.high + 1e-12 for i in covered]
        )
        assert hypergeom.pmf(counts, population, total, sample)[inside].sum() >= 0.9


def test_hypergeometric_interval_is_clopper_pearson_in_a_large_population_and_exact_in_a_known_one() -> None:
    found, limit = hypergeometric_interval(3, 200, 10_000_000), clopper_pearson(3, 200)
    assert (found.low, found.high) == pytest.approx((limit.low, limit.high), rel=1e-3)
    assert hypergeometric_interval(3, 200, 200) == Interval(3 / 200, 3 / 200, 3 / 200)
    with pytest.raises(ValueError, match="no sample"):
        hypergeometric_interval(1, 0, 10)
