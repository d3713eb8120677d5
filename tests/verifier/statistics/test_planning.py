from typing import Any

import numpy as np
import pytest

from weightwarden.verifier.statistics.detection import alarm_probability_with_noise, alarm_threshold
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.gamble import whole_answer_gamble
from weightwarden.verifier.statistics.planning import plan, plan_by_tokens
from weightwarden.verifier.statistics.sampling_design import SamplingDesign


def test_without_false_positives_it_is_the_audit_rate_of_one_catch() -> None:
    found = plan(459, messages_per_day=1e6, confidence=0.99)
    assert found.audit_rate == pytest.approx(0.01, rel=0.01)
    assert found.alarm_at == 1


def test_with_false_positives_a_little_less_is_not_enough() -> None:
    options = {"messages_per_day": 100_000.0, "confidence": 0.99, "power": 0.9, "false_positive_rate": 1e-3}
    found = plan(400, **options)
    for rate, enough in ((found.audit_rate, True), (found.audit_rate * 0.98, False)):
        at = alarm_threshold(100_000, false_positive_rate=rate * 1e-3, alarm_level=1e-4)
        reached = alarm_probability_with_noise(
            400, messages=100_000, audit_rate=rate, alarm_at=at, power=0.9, false_positive_rate=1e-3
        )
        assert (reached >= 0.99) == enough
    assert found.audit_rate > plan(400, messages_per_day=100_000, confidence=0.99, power=0.9).audit_rate


def test_honest_days_alarm_no_more_often_than_stated() -> None:
    for rate in (0.3, 0.05):
        found = plan(20_000, messages_per_day=1e6, confidence=0.99, false_positive_rate=rate)
        idle = alarm_probability_with_noise(
            0, messages=1_000_000, audit_rate=found.audit_rate, alarm_at=found.alarm_at, false_positive_rate=rate
        )
        assert idle <= 1e-4


def test_a_day_has_no_more_messages_than_it_has() -> None:
    with pytest.raises(StatisticsError, match="5 days of traffic"):
        plan(10_000, messages_per_day=2000, confidence=0.99)


def test_too_few_among_too_many_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="do not stand out"):
        plan(10, messages_per_day=1e8, confidence=0.99, false_positive_rate=1e-3)


# By tokens

TRAFFIC: dict[str, Any] = {
    "length_limit": 4096,
    "messages_per_day": 100_000.0,
    "tokens_per_message": 300.0,
    "confidence": 0.99,
}


def test_by_tokens_no_lengths_carry_as_many_tokens_and_a_smaller_rate_is_not_enough() -> None:
    for altered, power in ((4, 1.0), (100, 1.0), (100, 0.5), (5000, 0.01)):
        found = plan_by_tokens(altered, power=power, **TRAFFIC)
        for rate, enough in ((found.audit_rate, True), (found.audit_rate * 0.99, False)):
            gamble = whole_answer_gamble(
                SamplingDesign(rate, "tokens"),
                bits_per_token=1.0,
                length_limit=4096,
                power=power,
                escape_probability=0.01,
            )
            assert (gamble.gambled_bits <= altered * 4096) == enough
        assert (found.by, found.alarm_at) == ("tokens", 1)


@pytest.mark.parametrize("length", [4096, 1300, 200])
def test_by_tokens_with_false_positives_the_plan_catches_and_seldom_alarms_for_nothing(length: int) -> None:
    rng, altered, times = np.random.default_rng(8), 400, 2000
    found = plan_by_tokens(altered, power=0.9, false_positive_rate=1e-3, **TRAFFIC)
    assert found.alarm_at > 1
    design = SamplingDesign(found.audit_rate, "tokens")
    lengths = np.minimum(rng.lognormal(np.log(182), 1, 100_000), 4096)
    honest = rng.poisson(design.probabilities(lengths * 300 / lengths.mean()).sum() * 1e-3, times)
    caught = rng.binomial(altered * 4096 // length, 0.9 * design.probability(length), times)
    assert (honest + caught >= found.alarm_at).mean() > 0.985
    assert (honest >= found.alarm_at).mean() <= 1e-3


def test_by_tokens_too_little_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="days of traffic"):
        plan_by_tokens(10_000, **TRAFFIC)
    with pytest.raises(StatisticsError, match="no audit rate by tokens is enough: 1 messages"):
        plan_by_tokens(1, **(TRAFFIC | {"length_limit": 300}))
