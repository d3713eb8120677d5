"""The time to an alarm: the inverse Gaussian law against simulated walks, and its ends."""

from math import inf

import numpy as np
import pytest

from weightwarden.verifier.statistics.alarm_time import crossing_probability, records_to_cross
from weightwarden.verifier.statistics.errors import StatisticsError

THRESHOLD = float(np.log(1e4))


@pytest.mark.parametrize(("drift", "variance"), [(0.05, 0.1), (0.05, 0.02), (0.2, 1.0)])
@pytest.mark.parametrize("power", [0.5, 0.9])
def test_walks_cross_as_often_as_the_law_says(drift: float, variance: float, power: float) -> None:
    rng = np.random.default_rng(0)
    records = records_to_cross(power, threshold=THRESHOLD, drift=drift, variance=variance)
    walks = drift + variance**0.5 * rng.standard_normal((4000, int(records)))
    crossed = (walks.cumsum(axis=1).max(axis=1) >= THRESHOLD).mean()
    assert crossed == pytest.approx(power, abs=0.04)


def test_a_sure_gain_takes_threshold_by_gain_and_no_gain_takes_forever() -> None:
    assert records_to_cross(0.9, threshold=9.2, drift=1.0, variance=0.0) == 10
    assert records_to_cross(0.9, threshold=9.2, drift=100.0, variance=1.0) == 1
    assert records_to_cross(0.9, threshold=9.2, drift=0.0, variance=1.0) == inf
    assert records_to_cross(0.9, threshold=9.2, drift=-0.1, variance=1.0) == inf


def test_the_probability_rises_from_nothing_to_one() -> None:
    found = [crossing_probability(n, threshold=9.2, drift=0.1, variance=0.5) for n in (0, 1, 10, 100, 1000, 1e6)]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == pytest.approx(1)
    assert crossing_probability(92, threshold=9.2, drift=0.1, variance=0) == 1
    assert crossing_probability(91, threshold=9.2, drift=0.1, variance=0) == 0


def test_more_power_takes_more_records_and_extremes_are_finite() -> None:
    times = [records_to_cross(power, threshold=9.2, drift=1e-6, variance=1e-3) for power in (1e-6, 0.5, 0.9, 1 - 1e-9)]
    assert times == sorted(times)
    assert np.isfinite(times).all()


@pytest.mark.parametrize(("power", "threshold"), [(0.0, 9.2), (1.0, 9.2), (0.9, 0.0)])
def test_impossible_questions_are_refused(power: float, threshold: float) -> None:
    with pytest.raises(StatisticsError):
        records_to_cross(power, threshold=threshold, drift=1.0, variance=1.0)
