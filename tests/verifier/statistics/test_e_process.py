import numpy as np
import pytest

from tests.verifier.statistics.simulation import DEPENDENCES, Dependence, most_misses, records
from weightwarden.verifier.statistics.e_process import RateEProcess, records_to_alarm, weight_limits
from weightwarden.verifier.statistics.errors import StatisticsError

RUNS = 300


@pytest.mark.parametrize("dependence", DEPENDENCES)
@pytest.mark.parametrize("rate", [0.2, 0.01, 1e-3])
def test_an_honest_stream_seldom_alarms_though_every_record_is_looked_at(dependence: Dependence, rate: float) -> None:
    rng = np.random.default_rng(21)
    alarms = 0
    for _ in range(RUNS):
        monitor = RateEProcess.new(honest_rate=rate, weight_limits=weight_limits(100 * 4 ** int(rng.integers(3))))
        monitor.add(*records(rng, dependence, count=500, rate=rate, longest=100))
        alarms += monitor.alarms_at(0.1)
    assert alarms <= most_misses(0.1, RUNS)


@pytest.mark.parametrize("dependence", DEPENDENCES)
def test_a_worse_stream_alarms_within_the_predicted_records(dependence: Dependence) -> None:
    rng = np.random.default_rng(22)
    predicted = records_to_alarm(0.05, honest_rate=0.01, alarm_level=1e-4)
    assert 100 < predicted < 500
    alarms = 0
    for _ in range(RUNS):
        monitor = RateEProcess.new(honest_rate=0.01, weight_limits=[100])
        monitor.add(*records(rng, dependence, count=int(2 * predicted), rate=0.05, longest=100))
        alarms += monitor.alarms_at(1e-4)
    assert alarms > 0.9 * RUNS


def test_honest_short_answers_with_more_mismatches_do_not_alarm() -> None:
    # Nine in ten answers have 5 tokens, each at 6%; the rest 1,000 at 1%: 1.2% of all tokens.
    rng = np.random.default_rng(24)
    short = rng.random(3000) < 0.9
    tokens = np.where(short, 5, 1000)
    events = rng.binomial(tokens, np.where(short, 0.06, 0.01))
    monitor = RateEProcess.new(honest_rate=0.016, weight_limits=[1000])
    monitor.add(events.astype(np.float64), tokens.astype(np.float64))
    assert not monitor.alarms_at(0.05)


def test_records_longer_than_the_longest_weigh_as_it() -> None:
    long, longest = (RateEProcess.new(honest_rate=0.01, weight_limits=[100]) for _ in range(2))
    long.add(np.array([30.0]), np.array([300.0]))
    longest.add(np.array([10.0]), np.array([100.0]))
    assert long.log_capital == pytest.approx(longest.log_capital)
    assert long.tokens == 300


def test_an_honest_rate_is_never_predicted_to_alarm() -> None:
    assert records_to_alarm(0.01, honest_rate=0.01, alarm_level=1e-4) == float("inf")


def test_an_alarm_stays_though_the_stream_gets_better() -> None:
    monitor = RateEProcess.new(honest_rate=0.01, weight_limits=[1])
    monitor.add(np.ones(20), np.ones(20))
    assert monitor.alarms_at(1e-6)
    monitor.add(np.zeros(100_000), np.ones(100_000))
    assert monitor.log_capital < 0
    assert monitor.alarms_at(1e-6)


def test_capital_does_not_depend_on_how_the_records_are_dealt_out() -> None:
    rng = np.random.default_rng(23)
    events, tokens = records(rng, "strong", count=100, rate=0.02, longest=100)
    whole, parts = (RateEProcess.new(honest_rate=0.01, weight_limits=[100]) for _ in range(2))
    whole.add(events, tokens)
    for at in np.array_split(np.arange(100), 9):
        parts.add(events[at], tokens[at])
    assert parts.log_capital == pytest.approx(whole.log_capital)
    assert parts.p_value == pytest.approx(whole.p_value)
    assert (parts.records, parts.tokens, parts.value) == pytest.approx((100, tokens.sum(), events.sum()))


def test_a_record_that_cannot_be_leaves_the_monitor_as_it_was() -> None:
    monitor = RateEProcess.new(honest_rate=0.01, weight_limits=[100])
    with pytest.raises(StatisticsError, match="outside"):
        monitor.add(np.array([1.0, 12.0]), np.array([5.0, 11.0]))
    assert (monitor.records, monitor.log_capital) == (0, 0.0)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_nothing_can_be_bet_against_is_an_error(rate: float) -> None:
    with pytest.raises(StatisticsError, match="honest rate"):
        RateEProcess.new(honest_rate=rate, weight_limits=[100])


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (1024, (1024, 256, 64, 16)),
        (1, (1,)),
        (16, (16,)),
        (63, (63,)),
        (100, (100, 25)),
        (4096.0, (4096, 1024, 256, 64, 16)),
    ],
)
def test_weight_limits_are_quarters_down_to_sixteen(longest: float, expected: tuple[float, ...]) -> None:
    assert weight_limits(longest) == expected


def test_several_weight_limits_see_short_answers_several_times_sooner() -> None:
    """Twelve tokens an answer, and five times as many events as honest ones."""
    rng = np.random.default_rng(27)
    events, tokens = records(rng, "none", count=6000, rate=0.05, longest=12)
    needed = []
    for limits in ([1024.0], weight_limits(1024), [12.0]):
        monitor = RateEProcess.new(honest_rate=0.01, weight_limits=limits)
        for at in range(0, 6000, 20):
            monitor.add(events[at : at + 20], tokens[at : at + 20])
            if monitor.alarms_at(1e-4):
                break
        needed.append(at + 20)
    one, several, best = needed
    assert several < one / 3
    assert several < 1.6 * best
