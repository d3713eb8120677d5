import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from tests.verifier.statistics.simulation import DEPENDENCES, Dependence, most_misses, records
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.betting import Outcomes, log_capital_above, log_capital_below
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.intervals import clustered_rate
from weightwarden.verifier.statistics.rates import Population, RateSequence, Side, rate_limits

RUNS = 100


@pytest.mark.parametrize("dependence", DEPENDENCES)
@pytest.mark.parametrize(("count", "rate"), [(10, 0.05), (60, 0.02), (200, 1e-4), (100, 0.4)])
def test_limits_cover_whatever_the_tokens_of_a_record_do(dependence: Dependence, count: int, rate: float) -> None:
    rng = np.random.default_rng(11)
    misses = {"both": 0, "upper": 0, "lower": 0}
    sides: tuple[Side, ...] = ("both", "upper", "lower")
    for _ in range(RUNS):
        events, tokens = records(rng, dependence, count=count, rate=rate, longest=100)
        for side in sides:
            found = rate_limits(events, tokens, confidence=0.9, side=side, longest=100)
            misses[side] += not found.low <= rate <= found.high
    assert max(misses.values()) <= most_misses(0.1, RUNS)


def test_the_clustered_interval_is_only_approximate_here_and_these_are_not() -> None:
    # All-or-nothing records: without an event, the clustered interval takes 100 tokens for 100 independent ones.
    rng = np.random.default_rng(12)
    missed = 0
    for _ in range(RUNS):
        events, tokens = records(rng, "all or nothing", count=100, rate=1e-3, longest=100)
        missed += clustered_rate(events, tokens, 0.9).high < 1e-3
    assert missed > most_misses(0.5, RUNS)


@pytest.mark.parametrize("dependence", DEPENDENCES)
@pytest.mark.parametrize(("population", "sample"), [(40, 10), (200, 100), (200, 195)])
def test_limits_cover_a_sampled_population(dependence: Dependence, population: int, sample: int) -> None:
    rng = np.random.default_rng(13)
    events, tokens = records(rng, dependence, count=population, rate=0.05, longest=100)
    truth = events.sum() / tokens.sum()
    misses = 0
    for _ in range(RUNS):
        at = rng.permutation(population)[:sample]
        found = rate_limits(
            events[at],
            tokens[at],
            confidence=0.9,
            longest=100,
            population=Population(records=population, tokens=int(tokens.sum())),
        )
        misses += not found.low - 1e-12 <= truth <= found.high + 1e-12
    assert misses <= most_misses(0.1, RUNS)


def test_what_is_known_of_the_population_narrows_the_limits_to_nothing() -> None:
    rng = np.random.default_rng(14)
    events, tokens = records(rng, "strong", count=400, rate=0.05, longest=100)
    order = rng.permutation(400)
    population = Population(records=400, tokens=int(tokens.sum()))
    widths = []
    for sample in (100, 200, 380, 400):
        at = order[:sample]
        options = {"confidence": 0.95, "longest": 100.0}
        known = rate_limits(events[at], tokens[at], population=population, **options)  # type: ignore[arg-type]
        unknown = rate_limits(events[at], tokens[at], **options)  # type: ignore[arg-type]
        widths.append((known.high - known.low) / (unknown.high - unknown.low))
    assert widths == sorted(widths, reverse=True)
    assert widths[0] < 1
    assert widths[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("events", "trials"), [(0, 50), (0, 1000), (1, 1000), (10, 1000), (300, 1000), (10, 30_000)])
def test_limits_are_near_the_exact_ones_where_those_exist(events: int, trials: int) -> None:
    values = np.zeros(trials)
    values[:events] = 1
    found = rate_limits(values, np.ones(trials), confidence=0.95)
    exact = beta.ppf(0.975, events + 1, trials - events)
    assert exact <= found.high
    assert found.high - found.value <= 1.5 * (exact - found.value)
    if events:
        exact = beta.ppf(0.025, events, trials - events + 1)
        assert found.low <= exact
        assert found.value - found.low <= 1.5 * (found.value - exact)


def test_an_upper_limit_alone_is_nearer() -> None:
    values = np.zeros(100)
    both, upper = (rate_limits(values, np.ones(100), confidence=0.95, side=side) for side in ("both", "upper"))
    assert upper.high < both.high
    assert upper.high == pytest.approx(3.0 / 100, rel=0.2)  # the rule of three
    assert rate_limits(values + 1, np.ones(100), confidence=0.95, side="lower").low == pytest.approx(0.97, abs=0.01)


def test_values_keep_their_unit() -> None:
    rng = np.random.default_rng(15)
    events, tokens = records(rng, "none", count=80, rate=0.1, longest=50)
    rate = rate_limits(events, tokens, confidence=0.9, longest=50)
    bits = rate_limits(16 * events, tokens, confidence=0.9, longest=50, most_per_token=16)
    assert (bits.value, bits.low, bits.high) == pytest.approx((16 * rate.value, 16 * rate.low, 16 * rate.high))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.001, 0.999))
def test_a_rate_beyond_a_rejected_one_is_rejected(seed: int, count: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random(count)
    values = weights * rng.beta(spread, 1, count) * rng.integers(0, 2, count)
    outcomes = Outcomes.of(values, weights, most_per_token=1, longest=1)
    rates = np.linspace(0.001, 0.999, 60)
    below = np.array([log_capital_below(outcomes, rate, 3.0, count) >= 3.0 for rate in rates])
    above = np.array([log_capital_above(outcomes, rate, 3.0, count) >= 3.0 for rate in rates])
    assert list(below) == sorted(below)
    assert list(above) == sorted(above, reverse=True)


@pytest.mark.parametrize("dependence", DEPENDENCES)
def test_a_sequence_holds_at_every_moment(dependence: Dependence) -> None:
    rng = np.random.default_rng(16)
    misses = 0
    for _ in range(60):
        sequence = RateSequence(confidence=0.9, longest=100)
        missed = False
        for _ in range(10):
            events, tokens = records(rng, dependence, count=60, rate=0.02, longest=100)
            sequence.add(events, tokens)
            found = sequence.limits()
            missed |= not found.low <= 0.02 <= found.high
        misses += missed
    assert misses <= most_misses(0.1, 60)


def test_looking_often_breaks_a_limit_that_is_made_for_one_look_and_not_a_sequence() -> None:
    rng = np.random.default_rng(17)
    looks = np.unique(np.geomspace(10, 1000, 60).astype(int))
    fixed = anytime = 0
    for _ in range(60):
        hits = rng.random(1000) < 0.3
        total = np.cumsum(hits)[looks - 1]
        fixed += bool((beta.ppf(0.05, total, looks - total + 1) > 0.3).any())
        sequence = RateSequence(confidence=0.9, longest=1)
        sequence.add(hits.astype(np.float64), np.ones(1000))
        anytime += sequence.limits().low > 0.3
    assert fixed > most_misses(0.05, 60)
    assert anytime <= most_misses(0.05, 60)


def test_a_sequence_narrows_and_does_not_depend_on_how_its_records_are_dealt_out() -> None:
    rng = np.random.default_rng(18)
    events, tokens = records(rng, "none", count=3000, rate=0.05, longest=100)
    whole, parts = RateSequence(confidence=0.95, longest=100), RateSequence(confidence=0.95, longest=100)
    whole.add(events, tokens)
    widths = []
    for at in np.array_split(np.arange(3000), 7):
        parts.add(events[at], tokens[at])
        widths.append(parts.limits().high - parts.limits().low)
    assert parts.limits().low == pytest.approx(whole.limits().low)
    assert parts.limits().high == pytest.approx(whole.limits().high)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.02


def test_nothing_observed_is_an_error_and_no_interval() -> None:
    with pytest.raises(StatisticsError, match="nothing is known"):
        rate_limits(np.array([]), np.array([]), confidence=0.95)
    with pytest.raises(StatisticsError, match="nothing is known"):
        rate_limits(np.zeros(3), np.zeros(3), confidence=0.95)
    with pytest.raises(StatisticsError, match="no record with a token"):
        RateSequence(confidence=0.95, longest=10).limits()


@pytest.mark.parametrize(
    ("values", "tokens", "message"),
    [
        ([2.0], [1.0], "outside"),
        ([-1.0], [1.0], "outside"),
        ([float("nan")], [1.0], "outside"),
        ([0.0], [9.0], "9 tok"),
    ],
)
def test_values_out_of_range_are_errors(values: list[float], tokens: list[float], message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        rate_limits(np.array(values), np.array(tokens), confidence=0.95, longest=8)


def test_a_population_smaller_than_its_sample_is_an_error() -> None:
    for population in (Population(records=4, tokens=50), Population(records=50, tokens=4)):
        with pytest.raises(StatisticsError, match="no sample"):
            rate_limits(np.zeros(5), np.ones(5), confidence=0.95, population=population)


def test_chernoff_bets_reach_the_chernoff_bound() -> None:
    # All-or-nothing records: the limit is where the Chernoff bound of the binomial law is alpha, up to the bold bet.
    values = np.zeros(500)
    values[:7] = 1
    high = rate_limits(values, np.ones(500), confidence=0.95, side="upper").high
    chernoff = np.exp(-500 * (7 / 500 * np.log(7 / 500 / high) + 493 / 500 * np.log(493 / 500 / (1 - high))))
    assert 0.05 / 2 < chernoff < 0.05 * 1.01
    assert binom.cdf(7, 500, high) < 0.05


def published_interval(values: FloatArray, alpha: float) -> tuple[float, float]:
    """The predictable plug-in empirical-Bernstein interval of arXiv 2010.09686, theorem 2 with equation 17."""
    count = np.arange(1, len(values) + 1)
    mean = (0.5 + np.cumsum(values)) / (count + 1)
    spread = (0.25 + np.cumsum((values - mean) ** 2)) / (count + 1)
    mean, spread = np.concatenate([[0.5], mean[:-1]]), np.concatenate([[0.25], spread[:-1]])
    bets = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (len(values) * spread)), 0.5)
    price = ((values - mean) ** 2 * (-np.log(1 - bets) - bets)).sum()
    centre, half = (bets * values).sum() / bets.sum(), (np.log(2 / alpha) + price) / bets.sum()
    return float(centre - half), float(centre + half)


@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize(("law", "truth"), [("bernoulli", 0.5), ("uniform", 0.5), ("beta(10, 30)", 0.25)])
def test_limits_and_sequences_do_as_well_as_published_ones_on_their_own_examples(
    law: str, truth: float, count: int
) -> None:
    rng = np.random.default_rng(19)
    fixed, anytime, published, misses = [], [], [], np.zeros(2)
    for _ in range(20):
        values = {
            "bernoulli": (rng.random(count) < 0.5).astype(np.float64),
            "uniform": rng.random(count),
            "beta(10, 30)": rng.beta(10, 30, count),
        }[law]
        found = rate_limits(values, np.ones(count), confidence=0.95, longest=1)
        sequence = RateSequence(confidence=0.95, longest=1)
        sequence.add(values, np.ones(count))
        watched, (low, high) = sequence.limits(), published_interval(values, 0.05)
        misses += np.array([not found.low < truth < found.high, not watched.low < truth < watched.high])
        fixed.append(found.high - found.low)
        anytime.append(watched.high - watched.low)
        published.append(high - low)
    assert misses.max() <= most_misses(0.05, 20)
    assert np.mean(fixed) < 1.15 * np.mean(published)
    assert np.mean(anytime) < 1.6 * np.mean(published)
