from math import inf, lgamma

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import binom, hypergeom, nbinom

from weightwarden.verifier.statistics.detection import (
    alarm_probability,
    alarm_probability_of_sample,
    alarm_probability_with_noise,
    alarm_threshold,
    altered_before_alarm,
    audit_rate_needed,
    log_escape_probability,
    mean_messages_to_alarm,
    most_altered,
    sample_needed,
)
from weightwarden.verifier.statistics.errors import StatisticsError

RUNS = 20_000


def test_the_figures_of_the_design() -> None:
    assert altered_before_alarm(0.99, audit_rate=0.01) == 459
    assert altered_before_alarm(0.99, audit_rate=0.01, alarm_at=100) == 12_460


@pytest.mark.parametrize("alarm_at", [1, 3, 100])
@pytest.mark.parametrize("power", [1.0, 0.3])
@pytest.mark.parametrize("audit_rate", [1.0, 0.01, 1e-6])
def test_one_message_less_is_not_caught_with_that_confidence(audit_rate: float, power: float, alarm_at: int) -> None:
    m = altered_before_alarm(0.99, audit_rate=audit_rate, power=power, alarm_at=alarm_at)
    assert alarm_probability(m, audit_rate=audit_rate, power=power, alarm_at=alarm_at) >= 0.99
    assert alarm_probability(m - 1, audit_rate=audit_rate, power=power, alarm_at=alarm_at) < 0.99


@pytest.mark.parametrize("alarm_at", [1, 3, 100])
@pytest.mark.parametrize("caught", [1.0, 0.3, 0.01, 1e-6])
def test_one_message_more_does_not_escape_so_often(caught: float, alarm_at: int) -> None:
    m = most_altered(0.01, audit_rate=caught, alarm_at=alarm_at)
    assert m == altered_before_alarm(0.99, audit_rate=caught, alarm_at=alarm_at) - 1
    assert log_escape_probability(m, audit_rate=caught, alarm_at=alarm_at) >= np.log(0.01)
    assert log_escape_probability(m + 1, audit_rate=caught, alarm_at=alarm_at) < np.log(0.01)


def test_an_escape_probability_has_digits_where_one_minus_the_alarm_has_none() -> None:
    for m, alarm_at in ((10_000, 1), (30_000, 3)):
        assert alarm_probability(m, audit_rate=0.01, alarm_at=alarm_at) == 1
        found = log_escape_probability(m, audit_rate=0.01, alarm_at=alarm_at)
        chances = [lgamma(m + 1) - lgamma(k + 1) - lgamma(m - k + 1) + k * np.log(0.01) + (m - k) * np.log1p(-0.01)
                   for k in range(alarm_at)]  # fmt: skip
        assert found == pytest.approx(logsumexp(chances), rel=1e-9)
    assert log_escape_probability(1, audit_rate=1.0) == -inf
    assert log_escape_probability(0, audit_rate=1.0) == 0


def test_one_alarm_is_the_closed_form() -> None:
    for m in (1, 10, 1000):
        expected = 1 - (1 - 0.013) ** m
        assert alarm_probability(m, audit_rate=0.013) == pytest.approx(expected, rel=1e-12)
    assert audit_rate_needed(0.99, 1000) == pytest.approx(1 - 0.01 ** (1 / 1000), rel=1e-9)


def test_audit_rate_is_the_inverse_of_messages() -> None:
    for alarm_at in (1, 7):
        rate = audit_rate_needed(0.95, 500, power=0.5, alarm_at=alarm_at)
        assert alarm_probability(500, audit_rate=rate, power=0.5, alarm_at=alarm_at) == pytest.approx(0.95)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("power", [1.0, 0.6])
def test_fixed_samples_agree_with_simulated_audits(replacement: bool, power: float) -> None:
    rng = np.random.default_rng(5)
    messages, altered, sample, alarm_at = 60, 9, 15, 2
    caught = 0
    for _ in range(RUNS):
        drawn = rng.choice(messages, sample, replace=replacement)
        caught += int((rng.random(sample)[drawn < altered] < power).sum() >= alarm_at)
    expected = alarm_probability_of_sample(
        altered, messages=messages, sample=sample, power=power, alarm_at=alarm_at, replacement=replacement
    )
    assert caught / RUNS == pytest.approx(expected, abs=4 * np.sqrt(0.25 / RUNS))


def test_a_sample_without_replacement_is_hypergeometric_and_catches_more() -> None:
    without = alarm_probability_of_sample(5, messages=100, sample=50)
    assert without == pytest.approx(1 - hypergeom.pmf(0, 100, 5, 50))
    assert without > alarm_probability_of_sample(5, messages=100, sample=50, replacement=True)
    assert alarm_probability_of_sample(5, messages=100, sample=100, alarm_at=5) == 1.0
    assert alarm_probability_of_sample(5, messages=100, sample=100, alarm_at=6) == 0.0


@pytest.mark.parametrize("replacement", [False, True])
def test_one_audit_less_is_too_few(replacement: bool) -> None:
    options = {"messages": 5_000, "alarm_at": 2, "power": 0.8, "replacement": replacement}
    sample = sample_needed(0.9, 40, **options)  # type: ignore[arg-type]
    for audited, enough in ((sample, True), (sample - 1, False)):
        found = alarm_probability_of_sample(40, sample=audited, **options)  # type: ignore[arg-type]
        assert (found >= 0.9) == enough


def test_thresholds_keep_false_alarms_and_are_the_lowest_that_do() -> None:
    for audited, rate in ((100, 1e-3), (1_000_000, 1e-3), (50, 0.0), (10_000, 0.2)):
        at = alarm_threshold(audited, false_positive_rate=rate, alarm_level=1e-4)
        assert binom.sf(at - 1, audited, rate) <= 1e-4
        assert at == 1 or binom.sf(at - 2, audited, rate) > 1e-4


def test_honest_noise_raises_the_threshold_and_the_messages_that_an_attacker_has() -> None:
    messages = 1_000_000
    found = []
    for rate in (0.0, 1e-3):
        at = alarm_threshold(messages // 100, false_positive_rate=rate, alarm_level=1e-4)
        found.append(altered_before_alarm(0.99, audit_rate=0.01, alarm_at=at))
        reached = alarm_probability_with_noise(
            found[-1], messages=messages, audit_rate=0.01, alarm_at=at, false_positive_rate=rate
        )
        assert reached >= 0.99  # honest flags count as well
        idle = alarm_probability_with_noise(
            0, messages=messages, audit_rate=0.01, alarm_at=at, false_positive_rate=rate
        )
        assert idle <= 1.1e-4
    assert found[1] > 5 * found[0]


def test_noise_and_catches_add_up_as_simulated() -> None:
    rng = np.random.default_rng(6)
    altered, messages, rate, power, noise, at = 30, 1_000, 0.1, 0.7, 0.02, 5
    flags = rng.binomial(altered, rate * power, RUNS) + rng.binomial(messages - altered, rate * noise, RUNS)
    expected = alarm_probability_with_noise(
        altered, messages=messages, audit_rate=rate, alarm_at=at, power=power, false_positive_rate=noise
    )
    assert (flags >= at).mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / RUNS))


def test_mean_messages_is_the_negative_binomial_mean() -> None:
    expected = nbinom.mean(7, 0.02 * 0.5) + 7
    assert mean_messages_to_alarm(audit_rate=0.02, power=0.5, alarm_at=7) == pytest.approx(expected)


def test_goals_that_no_audit_reaches_are_errors() -> None:
    with pytest.raises(StatisticsError, match="no audit rate is enough"):
        audit_rate_needed(0.99, 3, power=0.5)
    with pytest.raises(StatisticsError, match="never raise"):
        audit_rate_needed(0.99, 3, alarm_at=4)
    with pytest.raises(StatisticsError, match="no sample"):
        sample_needed(0.99, 1, messages=100, power=0.5)
    with pytest.raises(StatisticsError, match="certain"):
        altered_before_alarm(1.0, audit_rate=0.5)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_impossible_rates_are_errors(rate: float) -> None:
    with pytest.raises(StatisticsError, match="audit rate"):
        alarm_probability(3, audit_rate=rate)
    with pytest.raises(StatisticsError, match="power"):
        alarm_probability(3, audit_rate=0.5, power=rate)


def test_many_messages_are_counted_and_too_large_samples_of_them_refused() -> None:
    found = alarm_probability_of_sample(10**7, messages=10**14, sample=10**6)
    assert found == pytest.approx(-np.expm1(-0.1), rel=1e-3)
    assert alarm_probability_of_sample(10, messages=10**14, sample=10**12) == pytest.approx(1 - 0.99**10)
    with pytest.raises(StatisticsError, match="use an audit rate"):
        alarm_probability_of_sample(10**12, messages=10**14, sample=10**12)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_nothing_sampled_is_certain(confidence: float) -> None:
    with pytest.raises(StatisticsError, match="certain"):
        sample_needed(confidence, 500, messages=100_000)
    with pytest.raises(StatisticsError, match="certain"):
        audit_rate_needed(confidence, 500)
