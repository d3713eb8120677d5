import pytest

from weightwarden.verifier.statistics.detection import alarm_probability_with_noise, alarm_threshold
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.planning import plan


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
