"""The e-process of the conditional test: honest streams with a share of arbitrary records seldom alarm."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.verifier.statistics.simulation import most_misses
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.conditional_e_process import (
    CAPS,
    ConditionalEProcess,
    capital_path,
    log_factors,
)
from weightwarden.verifier.statistics.errors import StatisticsError

RUNS = 300
RECORDS = 400
SHIFTS = np.array([0.02, 0.1, 0.4])
"""Bets of the simulation: each token's e-value is exp(s z - s^2 / 2), z standard normal, of expectation 1."""


def honest(rng: np.random.Generator, tokens_r: FloatArray) -> FloatArray:
    """Log ratios [records, bets] of honest records; their e-values have expectation 1, whatever the lengths."""
    sum_r = np.sqrt(tokens_r) * rng.standard_normal(len(tokens_r))
    log_ratio_rk: FloatArray = SHIFTS * sum_r[:, None] - tokens_r[:, None] * SHIFTS**2 / 2
    return log_ratio_rk


def with_bad(rng: np.random.Generator, log_ratio_rk: FloatArray, share: float, log_ratio: float) -> FloatArray:
    """The same records, of which a share, chosen at random, has a log ratio of its own."""
    bad_r = rng.random(len(log_ratio_rk)) < share
    return np.where(bad_r[:, None], log_ratio, log_ratio_rk)


LENGTHS: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "one token": lambda rng: np.ones(RECORDS),
    "a chat": lambda rng: rng.geometric(1 / 300, RECORDS).clip(max=4096).astype(float),
    "1 to 4,000": lambda rng: np.where(rng.random(RECORDS) < 0.9, 1.0, 4000.0),
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("bad", [0.0, np.log(CAPS[0]), np.log(CAPS[-1]), 1e4])
@pytest.mark.parametrize("contamination", [0.003, 0.05])
def test_an_honest_stream_with_bad_records_seldom_alarms_at_any_time(
    lengths: Callable[[np.random.Generator], FloatArray], bad: float, contamination: float
) -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(RUNS):
        stream = with_bad(rng, honest(rng, lengths(rng)), contamination, bad)
        alarms += capital_path(stream, contamination).max() >= np.log(100)
    assert alarms <= most_misses(0.01, RUNS)


@pytest.mark.parametrize("contamination", [0.0, 0.003, 0.05, 0.5])
def test_a_factor_has_expectation_at_most_one_whatever_the_bad_records_hold(contamination: float) -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        e_value_e = np.sort(rng.exponential(size=6) ** 4)
        probability_e = rng.dirichlet(np.ones(6))
        e_value_e /= max(1.0, float(probability_e @ e_value_e))
        honest_ec = np.exp(log_factors(np.log(e_value_e)[:, None], contamination))[:, :, 0]
        worst_c = np.exp(log_factors(np.full((1, 1), 1e6), contamination))[0, :, 0]
        expectation_c = (1 - contamination) * probability_e @ honest_ec + contamination * worst_c
        assert (expectation_c <= 1 + 1e-12).all()
    assert contamination or (log_factors(np.zeros((1, 1)), contamination) == 0).all()


def test_without_allowance_the_same_bad_records_raise_the_alarm() -> None:
    rng = np.random.default_rng(3)
    stream = with_bad(rng, honest(rng, LENGTHS["one token"](rng)), 0.05, 1e4)
    assert capital_path(stream, 0.0).max() >= np.log(1e4)
    assert capital_path(stream, 0.05).max() < np.log(1e4)


def test_a_record_alone_raises_no_alarm_and_two_do() -> None:
    log_ratio_rk = np.full((2, 12), 1e4)
    first, second = capital_path(log_ratio_rk, 1e-3)
    assert first < np.log(1e3)
    assert second >= np.log(1e4)


def test_an_attacker_is_seen_within_few_records_more_than_by_the_best_bet() -> None:
    """At 0.02 nats a token and 150 tokens a record, 4.6 nats lie between 1 and 1%; the mixture costs ln 9 more."""
    rng = np.random.default_rng(4)
    tokens_r = np.full(RECORDS, 150.0)
    attacked = honest(rng, tokens_r) + tokens_r[:, None] * SHIFTS * 0.2  # z has mean 0.2
    growth = float(attacked.mean(axis=0).max())
    needed = int(np.argmax(capital_path(attacked, 1e-3) >= np.log(1e4)))
    assert 0 < needed <= 2 * (np.log(1e4) + np.log(9)) / growth


def test_parts_of_a_stream_add_up() -> None:
    rng = np.random.default_rng(5)
    stream = honest(rng, np.full(60, 20.0)) + 0.05
    whole, parts = (ConditionalEProcess.new(bets=len(SHIFTS), contamination=0.01) for _ in range(2))
    whole.add(stream)
    for at in range(0, 60, 7):
        parts.add(stream[at : at + 7])
    parts.add(stream[:0])
    assert parts.log_capital == pytest.approx(whole.log_capital)
    assert parts.p_value == pytest.approx(whole.p_value)
    assert parts.records == whole.records == 60
    path = capital_path(stream, 0.01)
    assert path[-1] == pytest.approx(whole.log_capital)
    assert whole.log_best == pytest.approx(max(path.max(), 0.0))


@pytest.mark.parametrize(("bets", "contamination"), [(0, 0.1), (3, 1.0), (3, -0.1)])
def test_what_no_e_process_can_be_made_of_is_refused(bets: int, contamination: float) -> None:
    with pytest.raises(StatisticsError):
        ConditionalEProcess.new(bets=bets, contamination=contamination)
