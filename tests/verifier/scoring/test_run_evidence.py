"""The tests of a run: an honest one seldom alarms, and what no record shows by itself is seen in all of them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from tests.verifier.scoring.test_record_evidence import share_limit
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.run_evidence import TESTS, HonestRates, run_p_value

HONEST = HonestRates(level=1e-3, events=(9e-4, 1e-3), outlier_rate=9e-4, most_outlying=1.0)
FLAGGED = Fraction(29, 10_000)


def p_of(
    p_value_r: FloatArray | int = 100,
    *,
    flagged: int = 0,
    tokens_r: IntArray | None = None,
    log_ratio_rk: FloatArray | None = None,
    honest: HonestRates = HONEST,
) -> float:
    """p-value of a run in which nothing stands out but what is given."""
    p_value_r = np.ones(p_value_r) if isinstance(p_value_r, int) else p_value_r
    tokens_r = np.full(len(p_value_r), 100) if tokens_r is None else tokens_r
    log_ratio_rk = np.zeros((len(p_value_r), 5)) if log_ratio_rk is None else log_ratio_rk
    return run_p_value(
        honest,
        p_value_r=p_value_r,
        flagged=flagged,
        tokens_r=tokens_r,
        log_ratio_rk=log_ratio_rk,
    )


def binomial_tail(least: int, trials: int, chance: Fraction) -> float:
    """P(at least `least` of `trials`), by exact summation."""
    below = sum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(least))
    return float(1 - below)


@pytest.mark.parametrize("records", [10, 100, 1000])
@pytest.mark.parametrize("level", [1e-2, 1e-4])
def test_each_test_of_an_honest_run_is_within_its_part_of_the_level(records: int, level: float) -> None:
    enough = next(k for k in range(1, records + 1) if p_of(records, flagged=k) <= level)
    assert binomial_tail(enough, records, FLAGGED) <= level / TESTS
    assert binomial_tail(enough - 1, records, FLAGGED) > level / TESTS

    one_low = np.ones(records)
    low, high = 0.0, 1.0
    for _ in range(80):
        one_low[0] = (low + high) / 2
        low, high = (one_low[0], high) if p_of(one_low) <= level else (low, one_low[0])
    by_extreme = -math.expm1(records * math.log1p(-low))  # the smallest of so many uniform numbers is below `low`
    assert 0.9 * level / TESTS < by_extreme <= level / TESTS


def test_honest_runs_whose_records_are_flagged_for_any_reason_keep_the_level() -> None:
    """Forced ends and failed servers flag honest records, too: of 10,000 records 29, not 10."""
    rng, records, runs = np.random.default_rng(17), 10_000, 4000
    flagged = rng.binomial(records, HONEST.flagged, runs)
    alarms = np.array([p_of(records, flagged=int(k)) <= 1e-2 for k in flagged])
    assert alarms.mean() <= share_limit(1e-2, runs)
    old = np.array([2 * binom.sf(int(k) - 1, records, 1e-3) <= RUN_ALARM_LEVEL for k in flagged])
    assert old.mean() > 0.5  # the level of the tests alone is no honest rate of being flagged


@pytest.mark.parametrize(("records", "runs"), [(10, 6000), (100, 6000), (1000, 2000)])
def test_simulated_honest_runs_keep_the_level(records: int, runs: int) -> None:
    """All that flags an honest record happens at the policy's upper rates, in answers of all lengths."""
    rng, level = np.random.default_rng(13), 1e-2
    alarms = 0
    for _ in range(runs):
        tokens_r = rng.choice([1, 2, 8, 64, 400, 2000], records)
        shift_k = np.array([0.02, 0.1, 0.5])
        log_ratio_rk = shift_k * rng.normal(0, np.sqrt(tokens_r))[:, None] - tokens_r[:, None] * shift_k**2 / 2
        log_ratio_rk[rng.random(records) < HONEST.contamination] = 1e3
        p_value_r = rng.random(records)
        for share in HONEST.events:
            p_value_r = np.where(rng.random(records) < share, np.minimum(p_value_r, share), p_value_r)
        flagged = int((p_value_r <= 1e-3).sum())
        alarms += p_of(p_value_r, flagged=flagged, tokens_r=tokens_r, log_ratio_rk=log_ratio_rk) <= level
    assert alarms / runs <= share_limit(level, runs)


def test_choices_that_are_each_plausible_and_together_too_many_alarm() -> None:
    """60 records, each with 0.5 nats against it under one bet of five; one record alone says nothing."""
    log_ratio_rk = np.full((60, 5), -1.0)
    log_ratio_rk[:, 2] = 0.5
    assert p_of(60, log_ratio_rk=log_ratio_rk) <= RUN_ALARM_LEVEL
    assert p_of(1, log_ratio_rk=np.full((1, 5), 1e3)) > RUN_ALARM_LEVEL
    assert p_of(60, log_ratio_rk=log_ratio_rk, tokens_r=np.zeros(60, np.int64)) == 1.0  # nothing was answered


@pytest.mark.parametrize("records", [1, 10, 1000])
def test_one_impossible_record_alarms(records: int) -> None:
    p_value_r = np.ones(records)
    p_value_r[-1] = 0.0
    assert p_of(p_value_r, flagged=1) == 0.0


def test_many_records_that_are_each_just_flagged_alarm_and_one_does_not() -> None:
    p_value_r = np.random.default_rng(14).uniform(0.01, 1.0, 100)
    p_value_r[0] = 1e-3
    assert p_of(p_value_r, flagged=1) > 0.1
    p_value_r[:8] = 1e-3
    assert p_of(p_value_r, flagged=8) <= 1e-4


def test_a_run_under_an_exact_policy_has_the_p_that_the_policys_rates_give() -> None:
    """Where a policy allows a mismatch in a tenth of honest records, one mismatch is none of p <= 1e-300."""
    tenth = HonestRates(level=0.0, events=(0.1, 1e-3), outlier_rate=0.1, most_outlying=0.1)
    p_value_r = np.ones(20)
    p_value_r[:2] = 0.1
    assert p_of(p_value_r, flagged=2, honest=tenth) == 1.0
    all_of_them = p_of(np.full(20, 0.1), flagged=20, honest=tenth)
    assert 0 < all_of_them <= TESTS * 0.1**20 * 1.3


def test_run_without_anything_unusual_has_p_value_one() -> None:
    assert p_of(np.random.default_rng(15).uniform(0.5, 1.0, 50)) == 1.0


def test_run_of_no_records_is_an_error() -> None:
    with pytest.raises(ValueError, match="a run of no records"):
        p_of(np.empty(0))
