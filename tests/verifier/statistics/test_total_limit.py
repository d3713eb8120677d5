"""The upper limit of the bits of all records holds at its level: whoever fills which records, and at every look."""

from math import log, log1p

import numpy as np
import pytest

from benchmarks.guarantees.audited_records import (
    ATTACKERS,
    END_BITS,
    LOG2_VOCABULARY,
    drawn,
    filled,
    most_bits,
    probabilities,
    sample_of,
    various_lengths,
)
from tests.verifier.statistics.simulation import most_misses
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.sampling_design import AUDIT_BY, AuditBy, SamplingDesign
from weightwarden.verifier.statistics.total_limit import (
    STEEP,
    STEEP_SHARE,
    PoissonSample,
    TotalLimit,
    best_ratio,
    largest_ratio,
    risk,
    spent,
    stock_at,
)

RUNS = 100
CONFIDENCE = 0.9


def limit_of(sample: PoissonSample, ratio: float, confidence: float = CONFIDENCE) -> float:
    total = TotalLimit.at_prices(np.array([ratio]))
    total.add(sample)
    return total.limit(confidence, sample.log_missed).bits


def ratio_of(tokens_r: FloatArray, probability_r: FloatArray, confidence: float = CONFIDENCE) -> float:
    return best_ratio(most_bits(tokens_r), probability_r, np.ones(len(tokens_r)), confidence)


@pytest.mark.parametrize("design", AUDIT_BY)
@pytest.mark.parametrize("attacker", ATTACKERS)
@pytest.mark.parametrize(("count", "rate"), [(3000, 1e-4), (500, 0.01), (300, 0.1), (40, 0.5)])
def test_the_limit_holds_over_the_draw_and_an_empty_draw_is_refused(
    design: AuditBy, attacker: str, count: int, rate: float
) -> None:
    rng = np.random.default_rng(21)
    for share in (0.003, 0.02, 0.2):
        tokens_r = various_lengths(rng, count)
        bits_r = ATTACKERS[attacker](rng, tokens_r, share)
        probability_r = probabilities(design, rate, tokens_r)
        ratio = ratio_of(tokens_r, probability_r)
        misses = runs = 0
        while runs < RUNS:
            sample = drawn(rng, bits_r, tokens_r, probability_r)
            if not len(sample.bits_r):
                continue  # refused: the auditor draws anew
            runs += 1
            misses += limit_of(sample, ratio) < bits_r.sum()
        assert misses <= most_misses(1 - CONFIDENCE, RUNS)


def test_the_best_gamble_escapes_the_limit_about_as_often_as_is_stated() -> None:
    """No much smaller limit holds: as many full records as escape the audit in a tenth of the draws."""
    rng = np.random.default_rng(22)
    tokens_r, probability_r = np.full(1000, 500.0), np.full(1000, 0.1)
    gambled = int(log(0.1) / log(0.9))
    bits_r = filled(np.arange(1000) < gambled, tokens_r, honest=0.0)
    ratio = ratio_of(tokens_r, probability_r)
    limits = np.array([limit_of(drawn(rng, bits_r, tokens_r, probability_r), ratio) for _ in range(2000)])
    assert 0.1 < (limits < 1.3 * bits_r.sum()).mean() < 0.2  # where none of them is drawn, the limit is near their bits
    assert (limits < bits_r.sum()).mean() <= 0.1


@pytest.mark.parametrize("design", AUDIT_BY)
@pytest.mark.parametrize("share", [0.0, 0.005, 0.05, 1.0])
def test_a_series_may_be_looked_at_after_every_draw(design: AuditBy, share: float) -> None:
    """Rates of the audit rise and fall, records are longer than foreseen, and empty draws count."""
    rng = np.random.default_rng(23)
    foreseen = np.array([300.0, 1000.0])
    misses = 0
    for _ in range(RUNS):
        total = TotalLimit.at_prices(most_bits(foreseen) / risk(probabilities(design, 0.02, foreseen)))
        truth, missed = 0.0, False
        for day in range(12):
            tokens_r = various_lengths(rng, 60) * (4 if day == 7 else 1)
            probability_r = probabilities(design, (0.05, 0.02, 0.3, 1.0)[day % 4], tokens_r)
            bits_r = filled(rng.random(60) < share, tokens_r)
            truth += bits_r.sum()
            total.add(drawn(rng, bits_r, tokens_r, probability_r))
            missed |= total.limit(CONFIDENCE).bits < truth
        misses += missed
    assert misses <= most_misses(1 - CONFIDENCE, RUNS)


def test_an_attacker_who_waits_for_a_lucky_day_gains_nothing() -> None:
    """It fills the longest records from the moment when the auditor has seen the least."""
    rng = np.random.default_rng(24)
    tokens_r, probability_r = np.full(50, 400.0), np.full(50, 0.1)
    misses = 0
    for _ in range(RUNS):
        total = TotalLimit.at_prices(most_bits(tokens_r[:1]) / risk(probability_r[:1]))
        truth, missed = 0.0, False
        for _ in range(15):
            bold = total.spent_k[0] < 0.1 * log(10)
            bits_r = filled(np.arange(50) < (10 if bold else 0), tokens_r, honest=0.0)
            truth += bits_r.sum()
            total.add(drawn(rng, bits_r, tokens_r, probability_r))
            missed |= total.limit(CONFIDENCE).bits < truth
        misses += missed
    assert misses <= most_misses(1 - CONFIDENCE, RUNS)


def test_every_factor_has_the_mean_one() -> None:
    for probability in (1e-4, 0.01, 0.5, 0.999):
        for bits in (0.0, 1.0, 500.0, 8000.0, 1e6):
            price, slope = np.array([700.0]), np.array([0.98])
            hidden = np.minimum(bits / price, slope * risk(np.array([probability])))
            seen = np.exp(-spent(np.array([bits]), np.array([probability]), price, slope))
            mean = (1 - probability) * np.exp(hidden) + probability * seen
            assert mean == pytest.approx(1.0)


def test_with_every_record_audited_the_limit_is_what_was_seen() -> None:
    tokens_r = np.array([5.0, 900.0])
    sample = sample_of(np.array([True, True]), np.array([3.0, 40.0]), tokens_r, np.ones(2))
    total = TotalLimit.at_prices(np.array([1000.0]))
    total.add(sample)
    found = total.limit(0.99, sample.log_missed)
    assert (found.rate_bits, found.stock_bits, found.bits) == (43.0, 0.0, 43.0)


def test_records_that_are_always_drawn_add_only_their_own_bits() -> None:
    tokens_r, probability_r = np.array([5.0, 900.0, 5.0]), np.array([0.5, 1.0, 0.5])
    audited_r = np.array([True, True, False])
    total, without = TotalLimit.at_prices(np.array([200.0])), TotalLimit.at_prices(np.array([200.0]))
    total.add(sample_of(audited_r, np.array([1.0, 777.0, 1.0]), tokens_r, probability_r))
    without.add(sample_of(audited_r[[0, 2]], np.ones(2), tokens_r[[0, 2]], probability_r[[0, 2]]))
    one, other = total.limit(0.99), without.limit(0.99)
    assert one.rate_bits == pytest.approx(other.rate_bits + 777.0)
    assert one.stock_bits == other.stock_bits


def test_the_stock_does_not_grow_with_the_traffic_and_the_rate_does() -> None:
    rng = np.random.default_rng(25)
    found = []
    for count in (5000, 50_000):
        tokens_r, probability_r = np.full(count, 300.0), np.full(count, 0.02)
        total = TotalLimit.at_prices(np.array([ratio_of(tokens_r, probability_r, 0.99)]))
        total.add(drawn(rng, filled(np.zeros(count, bool), tokens_r), tokens_r, probability_r))
        found.append(total.limit(0.99))
    assert found[0].stock_bits == found[1].stock_bits
    assert found[1].rate_bits == pytest.approx(10 * found[0].rate_bits, rel=0.2)
    assert found[1].bits_per_token < 0.3 * found[0].bits_per_token


@pytest.mark.parametrize("design", AUDIT_BY)
def test_the_best_ratio_has_the_least_stock_before_the_draw(design: AuditBy) -> None:
    tokens_r = various_lengths(np.random.default_rng(26), 2000)
    probability_r = probabilities(design, 0.02, tokens_r)
    risk_r, most_r = risk(probability_r), most_bits(tokens_r)

    def stock(ratio: float) -> float:
        """Its mean over the draw."""
        price = ratio / STEEP
        return float(price * -log(0.01 * STEEP_SHARE) + np.exp(-risk_r) @ np.maximum(most_r - ratio * risk_r, 0.0))

    best = ratio_of(tokens_r, probability_r, 0.99)
    assert stock(best) <= min(stock(best * factor) for factor in np.geomspace(0.2, 5, 41)) * (1 + 1e-9)


@pytest.mark.parametrize("design", AUDIT_BY)
@pytest.mark.parametrize("rate", [1e-6, 0.01, 0.3, 1.0])
def test_no_record_up_to_a_length_is_dearer_than_the_largest_ratio(design: AuditBy, rate: float) -> None:
    for longest in (0, 1, 17, 800, 200_000):
        tokens_u = np.arange(longest + 1, dtype=np.float64)
        probability_u = probabilities(design, rate, tokens_u)
        ratio_u = most_bits(tokens_u) / np.maximum(risk(probability_u), 1e-300)
        found = largest_ratio(SamplingDesign(rate, design), longest, LOG2_VOCABULARY, END_BITS)
        assert found == pytest.approx(ratio_u.max())


def test_the_stock_at_a_price_is_that_of_a_series() -> None:
    total = TotalLimit.at_prices(np.array([5000.0]))
    tokens_r, probability_r = np.full(100, 200.0), np.full(100, 0.5)
    total.add(sample_of(np.arange(100) < 50, np.zeros(100), tokens_r, probability_r))
    assert total.limit(0.99).stock_bits == pytest.approx(stock_at(5000.0, 0.99))


def test_what_cannot_be_is_an_error() -> None:
    tokens_r = np.array([5.0, 900.0])
    for ratio in ([], [0.0], [np.inf], [np.nan]):
        with pytest.raises(StatisticsError, match="prices are positive"):
            TotalLimit.at_prices(np.array(ratio))
    with pytest.raises(StatisticsError, match="confidence"):
        TotalLimit.at_prices(np.array([1.0])).limit(1.0)
    with pytest.raises(StatisticsError, match="at least 0"):
        sample_of(np.array([True, False]), np.array([-1.0, 1.0]), tokens_r, np.full(2, 0.5))
    with pytest.raises(StatisticsError, match="probability"):
        sample_of(np.array([True, False]), np.ones(2), tokens_r, np.ones(2))
    with pytest.raises(StatisticsError, match="no stock"):
        best_ratio(most_bits(tokens_r), np.ones(2), np.ones(2), 0.99)


def test_the_empty_draw_costs_confidence() -> None:
    sample = sample_of(np.array([True, False, False]), np.ones(3), np.full(3, 10.0), np.full(3, 0.1))
    assert sample.log_missed == pytest.approx(3 * log1p(-0.1))
    total = TotalLimit.at_prices(np.array([1e3]))
    total.add(sample)
    used, refused = total.limit(0.99), total.limit(0.99, sample.log_missed)
    assert refused.stock_bits > used.stock_bits
    assert total.limit(1 - 0.01 * (1 - 0.9**3)).stock_bits == pytest.approx(refused.stock_bits)
