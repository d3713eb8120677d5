from dataclasses import replace
from math import inf, log2

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import geom, poisson

from weightwarden.logger.release import SLOTS
from weightwarden.logger.release import Pace as ReleasePace
from weightwarden.logger.sidecar.limits import Limits
from weightwarden.verifier.statistics.bandwidth import geometric_entropy
from weightwarden.verifier.statistics.detection import altered_before_alarm
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.exfiltration import (
    READINESS_SECONDS,
    AuditAssumptions,
    Leak,
    TimingChannel,
    Weights,
    days_until,
    estimate,
)
from weightwarden.verifier.statistics.traffic import MONTH_DAYS, PRESETS, Traffic

QUIET = Leak(
    bits_per_token=0.0,
    early_stop_share=0.0,
    length_limit=4096,
    refusal_share=0.0,
    timing=TimingChannel(),
    log2_vocabulary=16.0,
)
TERABYTE = Weights(size_bytes=1e12)


# The figures of docs/design.md, section 1


def test_traffic_of_the_presets() -> None:
    july = PRESETS["provider-2025-07"]
    assert july.output_tokens_per_day * MONTH_DAYS == pytest.approx(100e12)
    assert july.bytes_per_day() * MONTH_DAYS == pytest.approx(200e12)
    assert july.bytes_per_day() == pytest.approx(7e12, rel=0.1)
    assert july.per_site().bytes_per_day() == pytest.approx(700e9, rel=0.1)
    assert july.after(5 * MONTH_DAYS).bytes_per_day() / july.bytes_per_day() == pytest.approx(6, rel=0.1)
    assert PRESETS["provider-2025-05"].all_tokens_per_day * MONTH_DAYS == pytest.approx(500e12)


def test_a_terabyte_through_a_terabyte_a_day_and_through_half_a_percent_of_it() -> None:
    channel = 8e12
    assert days_until(TERABYTE.bits, channel) == pytest.approx(1)
    assert days_until(TERABYTE.bits, 0.005 * channel) >= 200
    traffic = Traffic(output_tokens_per_day=0.5e12)  # 2 bytes a token: 1 TB a day
    found = estimate(traffic, replace(QUIET, bits_per_token=0.005 * 16), AuditAssumptions(rate=0.01), TERABYTE)
    assert found.days_to_exfiltrate == pytest.approx(200, rel=1e-3)


# Growth, and what has to leave


def test_growth_is_the_integral_of_a_rate_that_doubles() -> None:
    for per_day, doubling in ((1.0, 30.0), (100.0, 61.0), (1e-3, 365.0)):
        days = days_until(1000.0, per_day, doubling)
        total, _ = quad(lambda t, r=per_day, d=doubling: r * 2 ** (t / d), 0, days)
        assert total == pytest.approx(1000.0)
    assert days_until(1000.0, 1.0, 1e9) == pytest.approx(1000.0, rel=1e-3)


def test_nothing_leaves_never_and_nothing_to_steal_is_out_at_once() -> None:
    assert days_until(1.0, 0.0) == inf
    assert days_until(0.0, 0.0) == 0
    assert (
        estimate(Traffic(output_tokens_per_day=1e9), QUIET, AuditAssumptions(rate=0.5), TERABYTE).days_to_exfiltrate
        == inf
    )


def test_compression_is_less_to_carry() -> None:
    assert Weights(size_bytes=1e12, compression=4).bits == TERABYTE.bits / 4


# Channels


def test_every_channel_is_a_term_and_the_largest_is_named() -> None:
    traffic = Traffic(output_tokens_per_day=1e9, tokens_per_message=100)
    leak = replace(
        QUIET,
        bits_per_token=0.05,
        early_stop_share=0.01,
        refusal_share=0.02,
        timing=TimingChannel(tokens_per_tick=50.0),
        readiness_per_day=8640.0,
    )
    found = estimate(traffic, leak, AuditAssumptions(rate=0.01), TERABYTE)
    terms = {term.name: term.bits_per_day for term in found.terms}
    assert terms["tokens under the threshold"] == pytest.approx(0.05e9)
    assert terms["early stops"] == pytest.approx(1e7 * (0.0807931 + 0.01 * 12), rel=1e-5)
    assert terms["refusals"] == pytest.approx(1e7 * 0.1414405, rel=1e-5)
    assert terms["timing"] == pytest.approx(1e9 * geometric_entropy(50) / 50)
    assert terms["readiness"] == 8640
    assert found.bits_per_day == pytest.approx(sum(terms.values()))
    assert found.bits_per_token == pytest.approx(found.bits_per_day / 1e9)
    assert found.dominant == "timing"


def test_open_timing_is_named_and_not_in_the_sum() -> None:
    found = estimate(
        Traffic(output_tokens_per_day=1e9), replace(QUIET, bits_per_token=0.05), AuditAssumptions(rate=0.01), TERABYTE
    )
    timing = next(term for term in found.terms if term.name == "timing")
    assert not timing.counted
    assert timing.bits_per_day > found.bits_per_day
    assert found.dominant == "tokens under the threshold"


def test_no_count_of_tokens_on_a_tick_says_more_than_the_timing_term() -> None:
    rng = np.random.default_rng(1)
    for mean in (0.5, 3.0, 40.0):
        for law in (rng.poisson(mean, 200_000), rng.geometric(1 / (1 + mean), 200_000) - 1):
            share = np.bincount(law) / len(law)
            entropy = -float((share[share > 0] * np.log2(share[share > 0])).sum())
            assert entropy / law.mean() <= TimingChannel(tokens_per_tick=float(law.mean())).bits_per_token + 1e-3


def test_a_checked_readiness_is_what_the_sidecar_has() -> None:
    assert Limits().ready == READINESS_SECONDS


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.3])
def test_no_schedules_with_so_many_underruns_say_more_than_the_paced_term(share: float) -> None:
    """Schedules of a law with this share of underruns have no more entropy; and a start slot has what its code has."""
    pace, tokens = ReleasePace(tokens=8, milliseconds=200), 290
    groups = pace.groups(tokens)  # after the first one; the end of a cut-off answer is one of them
    counts = np.arange(400)
    for law in (geom.pmf(counts + 1, 1 - share), poisson.pmf(counts, share / (1 - share))):
        entropy = -float((law[law > 0] * np.log2(law[law > 0])).sum())
        bits = TimingChannel.paced(pace, tokens, share).bits_per_token * tokens
        assert log2(SLOTS + 1) + groups * entropy <= bits
    assert not TimingChannel.paced(pace, tokens, share).open


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_underruns_are_a_share_of_the_ticks(share: float) -> None:
    with pytest.raises(StatisticsError, match="share of the ticks"):
        TimingChannel.paced(ReleasePace(tokens=8, milliseconds=200), 300, share)


# Gambling


def test_gambling_is_had_once_and_is_what_detection_says() -> None:
    traffic = Traffic(output_tokens_per_day=1e9, tokens_per_message=100)
    found = estimate(traffic, QUIET, AuditAssumptions(rate=0.01), TERABYTE)
    messages = altered_before_alarm(0.99, audit_rate=0.01) - 1
    assert found.gamble.gambled_bits == messages * 4096 * 16


def test_the_longest_answers_carry_what_is_gambled_as_often_as_is_said() -> None:
    """The attacker outside writes the prompts, and has the longest answers altered, not the mean ones."""
    traffic = Traffic(output_tokens_per_day=1e9, tokens_per_message=500)
    found = estimate(traffic, QUIET, AuditAssumptions(rate=0.01), TERABYTE)
    rng = np.random.default_rng(5)
    uncaught = rng.binomial(int(found.gamble.gambled), 0.01, 200_000) == 0
    assert abs(uncaught.mean() - 0.01) < 4 * (0.01 / 200_000) ** 0.5 + 1e-4  # one message less or more: 1e-4
    of_mean_length = found.gamble.gambled_bits * 500 / 4096  # what was promised when messages had the mean length
    few = of_mean_length / (4096 * 16)
    assert (rng.binomial(int(few), 0.01, 20_000) == 0).mean() > 0.5


def test_with_every_message_audited_nothing_is_gambled() -> None:
    found = estimate(Traffic(output_tokens_per_day=1e9), QUIET, AuditAssumptions(rate=1.0), TERABYTE)
    assert (found.gamble.gambled, found.gamble.gambled_bits) == (0, 0)
    assert all(pace.log10_escape_probability == -inf for pace in found.paces)
    free = estimate(Traffic(output_tokens_per_day=1e9), QUIET, AuditAssumptions(rate=1.0, alarm_at=3), TERABYTE)
    assert free.gamble.gambled == 2


def test_a_bound_that_contains_the_gamble_is_charged_once() -> None:
    traffic, leak = Traffic(output_tokens_per_day=1e6), replace(QUIET, bits_per_token=0.1)
    weights = Weights(size_bytes=1e7)
    apart = estimate(traffic, leak, AuditAssumptions(rate=0.01), weights)
    within = estimate(traffic, replace(leak, stock_bits=0.0), AuditAssumptions(rate=0.01), weights)
    assert within.gamble == apart.gamble
    assert within.days_to_exfiltrate == pytest.approx(8e7 / 1e5)
    assert apart.days_to_exfiltrate == pytest.approx((8e7 - apart.gamble.gambled_bits) / 1e5)


def test_a_stock_counts_once_whatever_the_time_and_leaves_gamble_and_paces_as_they_are() -> None:
    traffic, leak = Traffic(output_tokens_per_day=1e6), replace(QUIET, bits_per_token=0.1)
    audit, weights = AuditAssumptions(rate=0.01), Weights(size_bytes=1e7)
    without = estimate(traffic, leak, audit, weights)
    for stock, days in ((0.0, 800.0), (3e7, 500.0), (8e7 - 1, 5.0), (8e7, 5.0), (1e12, 5.0)):
        found = estimate(traffic, replace(leak, stock_bits=stock), audit, weights)
        assert found.days_to_exfiltrate == pytest.approx(days)  # never less than 16 million bits a day allow
        assert found.gamble_suffices == (stock >= 8e7)
        assert (found.gamble, found.paces, found.bits_per_day) == (without.gamble, without.paces, without.bits_per_day)


def test_what_is_gambled_takes_the_time_that_its_tokens_take() -> None:
    found = estimate(Traffic(output_tokens_per_day=1e6), QUIET, AuditAssumptions(rate=1e-6), Weights(size_bytes=4e6))
    assert found.gamble_suffices
    assert found.days_to_exfiltrate == 2  # 16 million bits a day


def test_no_pace_carries_more_than_all_tokens() -> None:
    traffic = Traffic(output_tokens_per_day=1e6, tokens_per_message=100)
    for pace in estimate(
        traffic, QUIET, AuditAssumptions(rate=0.01), TERABYTE, shares=(1e-6, 1e-3, 100 / 4096, 0.3, 1.0)
    ).paces:
        assert pace.bits_per_day == pytest.approx(min(pace.share * 10_000 * 4096, 1e6) * 16)


def test_paces_agree_with_a_simulated_attacker() -> None:
    traffic = Traffic(output_tokens_per_day=1e6, tokens_per_message=100)
    audit = AuditAssumptions(rate=0.02, power=0.8, alarm_at=3)
    weights = Weights(size_bytes=200 * 250)  # 250 messages of 1,600 bits
    short = replace(QUIET, length_limit=100)
    found = estimate(traffic, short, audit, weights, shares=(0.01,)).paces[0]
    assert found.bits_per_day == 100 * 1600
    assert found.days_to_exfiltrate == pytest.approx(2.5)
    rng = np.random.default_rng(2)
    caught = rng.random((20_000, 2000)) < audit.rate * audit.power
    third = (np.cumsum(caught, axis=1) >= 3).argmax(axis=1) + 1
    assert found.mean_days_to_alarm == pytest.approx(third.mean() / 100, rel=0.05)
    assert found.days_to_alarm == pytest.approx(np.quantile(third, 0.99) / 100, rel=0.05)
    assert 10**found.log10_escape_probability == pytest.approx((third > 250).mean(), abs=0.02)


def test_more_sites_carry_as_much_in_all() -> None:
    traffic = Traffic(output_tokens_per_day=1e12, sites=10)
    assert traffic.per_site().output_tokens_per_day == 1e11
    leak = replace(QUIET, bits_per_token=log2(3) / 100)
    alone = estimate(replace(traffic, sites=1), leak, AuditAssumptions(rate=0.01), TERABYTE)
    assert estimate(traffic, leak, AuditAssumptions(rate=0.01), TERABYTE).bits_per_day == alone.bits_per_day


@pytest.mark.parametrize(
    "change",
    [
        {"output_tokens_per_day": 0.0},
        {"output_share": 0.0},
        {"output_share": 1.5},
        {"sites": 0},
        {"doubling_days": 0.0},
    ],
)
def test_traffic_that_cannot_be_is_an_error(change: dict[str, float]) -> None:
    with pytest.raises(StatisticsError, match="no such traffic"):
        Traffic(**({"output_tokens_per_day": 1e9} | change))  # type: ignore[arg-type]
    with pytest.raises(StatisticsError, match="smaller"):
        Weights(size_bytes=1e12, compression=0.5)


def test_what_no_message_can_be_is_an_error_and_what_cannot_be_counted_is_not() -> None:
    traffic = Traffic(output_tokens_per_day=1e12)
    with pytest.raises(StatisticsError, match="more than log2"):
        estimate(traffic, replace(QUIET, bits_per_token=17), AuditAssumptions(rate=0.1), TERABYTE)
    with pytest.raises(StatisticsError, match="more than 100"):
        estimate(traffic, replace(QUIET, length_limit=100), AuditAssumptions(rate=0.1), TERABYTE)
    never = estimate(traffic, QUIET, AuditAssumptions(rate=1e-12, power=1e-6), TERABYTE).paces[0]
    assert never.days_to_alarm == inf
    assert never.log10_escape_probability == pytest.approx(0, abs=1e-6)
    huge = estimate(traffic, QUIET, AuditAssumptions(rate=0.01), Weights(size_bytes=1e29)).paces[0]
    assert -inf < huge.log10_escape_probability < -1e6  # tiny, and no certainty: 1 - p would be 0
