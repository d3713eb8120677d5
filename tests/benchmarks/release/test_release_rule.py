"""The rule on token times is the gate's rule; the simulated server's times are in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.release.large_server import LARGE, SMALL, served
from benchmarks.release.measures import by_rule
from benchmarks.release.release_rule import paced
from benchmarks.side_channels.release_control import ReleaseControl
from weightwarden.logger.gate.schedule import Schedule
from weightwarden.logger.release import Pace, run_lengths


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40), st.integers(1, 9), st.integers(20, 400))
def test_an_answer_leaves_as_a_gate_would_let_it(waits: list[float], tokens: int, milliseconds: int) -> None:
    pace = Pace(tokens=tokens, milliseconds=milliseconds)
    times = np.cumsum(waits)
    schedule = Schedule(0.0, pace.seconds)
    moments = []
    for group in range(pace.groups(len(waits))):
        came = float(times[min(group * tokens, len(waits) - 1)])
        moments.append(schedule.due(came))
        schedule.leave(came, moments[-1])
    found = paced(times, pace)
    assert found.release.start_slot == schedule.start_slot
    assert found.release.underruns == run_lengths(schedule.missed)
    np.testing.assert_allclose(found.group_seconds, moments, atol=1e-9)


def test_a_slower_pace_costs_time_and_saves_bits() -> None:
    answers = served(LARGE, 200, np.random.default_rng(0))
    assert all((np.diff(answer.token_seconds) > 0).all() and answer.token_seconds[0] > 0 for answer in answers)
    free, quick, slow = (
        by_rule(LARGE.name, answers, control)
        for control in (
            ReleaseControl(),
            ReleaseControl(pace=Pace.parse("8/200")),
            ReleaseControl(pace=Pace.parse("8/400")),
        )
    )
    assert free.bits_per_token is None
    assert quick.bits_per_token is not None
    assert slow.bits_per_token is not None
    assert slow.bits_per_token < 0.5 * quick.bits_per_token
    assert free.first_p50_ms < quick.first_p50_ms == slow.first_p50_ms
    assert slow.tokens_per_second < quick.tokens_per_second
    assert slow.first_p50_ms < 1.3 * free.first_p50_ms
    assert free.second_p50_ms is not None
    assert slow.second_p50_ms == pytest.approx(400)
    assert free.second_p50_ms < 50


def test_prompts_delay_the_streams_of_a_smaller_machine_more() -> None:
    large, small = (
        np.concatenate([np.diff(answer.token_seconds) for answer in served(machine, 300, np.random.default_rng(1))])
        for machine in (LARGE, SMALL)
    )
    assert (small > 0.08).mean() > 1.3 * (large > 0.08).mean() > 0
