"""Limits of a rate from records that were drawn with unequal probabilities."""

import numpy as np
import pytest

from benchmarks.guarantees.audited_records import probabilities, various_lengths
from tests.verifier.statistics.simulation import most_misses
from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.poisson_rates import estimated_rate, poisson_rate_limits
from weightwarden.verifier.statistics.rates import Population, rate_limits
from weightwarden.verifier.statistics.sampling_design import AUDIT_BY, AuditBy
from weightwarden.verifier.statistics.total_limit import risk

RUNS = 40
CONFIDENCE = 0.9


def events_of(rng: np.random.Generator, kind: str, tokens_r: FloatArray, rate: float) -> FloatArray:
    """Events whose share of all tokens is about the rate."""
    if kind == "none":
        return rng.binomial(tokens_r.astype(int), rate).astype(np.float64)
    order = {
        "longest": np.argsort(-tokens_r),
        "shortest": np.argsort(tokens_r),
        "random": rng.permutation(len(tokens_r)),
    }
    at = order[kind]
    whole = np.cumsum(tokens_r[at]) <= max(rate * tokens_r.sum(), tokens_r[at[0]])
    events_r = np.zeros(len(tokens_r))
    events_r[at[whole]] = tokens_r[at[whole]]
    return events_r


def limits(
    audited_r: BoolArray, events_r: FloatArray, tokens_r: FloatArray, probability_r: FloatArray, confidence: float
) -> Interval:
    return poisson_rate_limits(
        events_r[audited_r],
        tokens_r[audited_r],
        probability_r[audited_r],
        tokens=float(tokens_r.sum()),
        longest=float((tokens_r / probability_r)[probability_r < 1].max(initial=0.0)),
        confidence=confidence,
        log_missed=-float(risk(probability_r).sum()),
    )


@pytest.mark.parametrize("design", AUDIT_BY)
@pytest.mark.parametrize("kind", ["none", "longest", "shortest", "random"])
@pytest.mark.parametrize(("count", "audit_rate", "rate"), [(1000, 0.01, 1e-4), (300, 0.1, 0.02), (60, 0.5, 0.4)])
def test_limits_cover_whichever_records_hold_the_events(
    design: AuditBy, kind: str, count: int, audit_rate: float, rate: float
) -> None:
    rng = np.random.default_rng(31)
    tokens_r = various_lengths(rng, count)
    probability_r = probabilities(design, audit_rate, tokens_r)
    events_r = events_of(rng, kind, tokens_r, rate)
    truth = events_r.sum() / tokens_r.sum()
    runs = below = above = 0
    while runs < RUNS:
        audited_r = rng.random(count) < probability_r
        if not audited_r.any():
            continue
        runs += 1
        found = limits(audited_r, events_r, tokens_r, probability_r, CONFIDENCE)
        assert found.low <= found.value <= found.high
        below += truth < found.low - 1e-12
        above += truth > found.high + 1e-12
    assert max(below, above) <= most_misses((1 - CONFIDENCE) / 2, RUNS)


def test_by_tokens_the_limits_are_narrower_than_by_records_where_lengths_differ() -> None:
    rng = np.random.default_rng(32)
    tokens_r = np.ceil(np.minimum(np.exp(rng.normal(5.2, 1.0, 20_000)), 4096))
    events_r = rng.binomial(tokens_r.astype(int), 0.01).astype(np.float64)
    by_tokens = probabilities("tokens", 0.01, tokens_r)
    by_records = np.full(len(tokens_r), (by_tokens @ tokens_r) / tokens_r.sum())  # the same audited tokens
    widths = {}
    for name, probability_r in (("tokens", by_tokens), ("records", by_records)):
        found = [
            limits(rng.random(len(tokens_r)) < probability_r, events_r, tokens_r, probability_r, 0.99)
            for _ in range(10)
        ]
        widths[name] = np.median([one.high - one.low for one in found])
    assert widths["tokens"] < 0.7 * widths["records"]


def test_with_equal_probabilities_the_limits_are_near_those_of_a_sample_without_replacement() -> None:
    rng = np.random.default_rng(33)
    tokens_r, probability_r = np.ceil(rng.uniform(50, 100, 5000)), np.full(5000, 0.05)
    events_r = rng.binomial(tokens_r.astype(int), 0.02).astype(np.float64)
    audited_r = rng.random(5000) < probability_r
    one = limits(audited_r, events_r, tokens_r, probability_r, 0.99)
    other = rate_limits(
        events_r[audited_r],
        tokens_r[audited_r],
        confidence=0.99,
        longest=100.0,
        population=Population(records=5000, tokens=float(tokens_r.sum())),
    )
    assert one.value == pytest.approx(other.value)
    assert one.value == pytest.approx(events_r[audited_r].sum() / tokens_r[audited_r].sum())
    assert 0.7 < (one.high - one.low) / (other.high - other.low) < 1.4


def test_records_that_are_always_drawn_are_known() -> None:
    tokens_r = np.array([100.0, 400.0, 100.0, 0.0])
    events_r = np.array([1.0, 100.0, 50.0, 0.0])
    known = limits(np.ones(4, bool), events_r, tokens_r, np.ones(4), 0.99)
    assert (known.low, known.value, known.high) == pytest.approx((151 / 600,) * 3)
    probability_r = np.array([0.5, 1.0, 0.5, 0.5])
    none_of_the_rest = limits(np.array([False, True, False, True]), events_r, tokens_r, probability_r, 0.99)
    assert (none_of_the_rest.low, none_of_the_rest.high) == pytest.approx((100 / 600, 300 / 600))
    some = limits(np.array([True, True, False, False]), events_r, tokens_r, probability_r, 0.99)
    assert some.value == pytest.approx((100 + 0.01 * 200) / 600)
    assert 101 / 600 <= some.low <= some.value <= some.high <= 300 / 600


def test_the_estimate_is_right_in_the_mean() -> None:
    rng = np.random.default_rng(34)
    tokens_r = np.repeat([10.0, 1000.0], 2000)
    events_r = np.where(tokens_r > 500, 500.0, 0.0)
    probability_r = probabilities("tokens", 0.05, tokens_r)
    truth = events_r.sum() / tokens_r.sum()
    found = []
    for _ in range(200):
        at = rng.random(4000) < probability_r
        found.append(estimated_rate(events_r[at], tokens_r[at], probability_r[at], float(tokens_r.sum())))
    assert np.mean(found) == pytest.approx(truth, rel=0.02)


def test_what_is_no_sample_is_an_error() -> None:
    for events, tokens, probability, total in ((1, 0, 0.5, 10), (1, 10, 0.0, 10), (1, 10, 1.5, 10), (1, 10, 0.5, 9)):
        with pytest.raises(StatisticsError):
            poisson_rate_limits(
                np.array([events]),
                np.array([tokens]),
                np.array([probability]),
                tokens=total,
                longest=20.0,
                confidence=0.9,
                log_missed=-1.0,
            )
    with pytest.raises(StatisticsError, match="confidence"):
        limits(np.ones(1, bool), np.ones(1), np.ones(1), np.ones(1), 1.0)
