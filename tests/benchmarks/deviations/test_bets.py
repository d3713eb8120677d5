"""The bets of a monitor, one by one: their sum is the monitor's capital, and orders of records find its alarm."""

import numpy as np
import pytest
from scipy.special import logsumexp

from benchmarks.deviations.alarms import robust_growth
from benchmarks.deviations.bets import RecordFactors
from tests.places import BUNDLED_POLICY
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.statistics.e_process import RateEProcess
from weightwarden.verifier.verification.series_monitor import LOG_RATIO, WATCHED, SeriesMonitor

RECORDS = 60


def monitor() -> SeriesMonitor:
    return SeriesMonitor.new(read_policy(BUNDLED_POLICY), 15.6, 1024.0)


def columns(seed: int, nats: float) -> dict[str, FloatArray]:
    """Records of different lengths, whose log ratios have this mean."""
    rng, bets = np.random.default_rng(seed), len(read_policy(BUNDLED_POLICY).likelihood_ratio_bets)
    tokens_r = rng.integers(1, 200, RECORDS)
    counts: dict[str, FloatArray] = {name: rng.binomial(tokens_r, 0.03).astype(np.float64) for name in WATCHED[:3]}
    bits_r: FloatArray = 0.1 * tokens_r.astype(np.float64)
    return {
        "tokens": tokens_r.astype(np.float64),
        **counts,
        "pooled_bits": bits_r,
        "outlying": (rng.random(RECORDS) < 0.05).astype(np.float64),
        "flagged": (rng.random(RECORDS) < 0.05).astype(np.float64),
        LOG_RATIO: rng.normal(nats, 1, (RECORDS, bets)),
    }


def test_the_bets_together_are_the_monitor() -> None:
    found, watched = columns(0, 0.1), monitor()
    factors = RecordFactors.of(watched, found)
    assert np.exp(factors.log_share_p).sum() == pytest.approx(1)
    best = []
    for record in range(RECORDS):
        watched.add({name: column[record : record + 1] for name, column in found.items()})
        best.append(watched.log_capital)
    assert factors.largest_log_capital(np.arange(RECORDS)) == pytest.approx(max(best))
    after = logsumexp(factors.log_share_p + factors.log_factor_rp.sum(axis=0))
    assert after == pytest.approx(watched.log_capital)


def test_rates_alone_are_the_monitor_without_its_conditional_half() -> None:
    found, watched = columns(1, 0.0), monitor()
    factors = RecordFactors.before(watched, found)
    assert np.exp(factors.log_share_p).sum() == pytest.approx(1)
    capitals = []
    for name, rate in watched.monitors.items():
        alone = RateEProcess.new(
            honest_rate=rate.honest_rate, weight_limits=rate.weight_limits[:1], most_per_token=rate.most_per_token
        )
        units_r = np.ones(RECORDS) if name == "flagged" else found["tokens"]
        alone.add(np.minimum(found[name], rate.most_per_token * units_r), units_r)
        capitals.append(alone.log_capital)
    after = logsumexp(factors.log_share_p + factors.log_factor_rp.sum(axis=0))
    assert after == pytest.approx(logsumexp(capitals) - np.log(len(capitals)))


def test_orders_find_the_alarm_of_a_monitor_and_none_without_one() -> None:
    found = columns(2, 2.0)
    factors = RecordFactors.of(monitor(), found)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(RECORDS)
        watched, tokens = monitor(), 0.0
        for record in order:
            watched.add({name: column[record : record + 1] for name, column in found.items()})
            tokens += found["tokens"][record]
            if watched.alarms_at(1e-4):
                break
        assert factors.tokens_to_alarm(1e-4, np.random.default_rng(seed), 1000) == tokens
    quiet = columns(3, -1.0) | {name: np.zeros(RECORDS) for name in WATCHED}
    assert RecordFactors.of(monitor(), quiet).tokens_to_alarm(1e-4, np.random.default_rng(0), 1000) == np.inf


def test_the_growths_kept_are_those_that_rise() -> None:
    growths = RecordFactors.of(monitor(), columns(4, 1.0)).growths()
    assert growths
    assert all(growth.nats_per_record > 0 and growth.log_share < 0 for growth in growths)
    quiet = columns(3, -3.0) | {name: np.zeros(RECORDS) for name in WATCHED}
    assert RecordFactors.of(monitor(), quiet).growths() == []


def test_what_robustness_costs_a_known_deviation() -> None:
    ratio_r = np.random.default_rng(5).normal(2, 1, 1000)
    assert robust_growth(ratio_r, 0.0) == pytest.approx(ratio_r.mean(), rel=1e-3)
    costs = [robust_growth(ratio_r, share) for share in (0.0, 1e-3, 1e-2, 0.1)]
    assert costs == sorted(costs, reverse=True)
    assert robust_growth(np.full(1000, -1.0), 0.01) < 0
