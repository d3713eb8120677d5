"""The simulated server's answers, and the sum of all channels."""

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.guarantees.all_channels import main, row, timing
from benchmarks.guarantees.simulated_answers import SimulatedServer, released
from benchmarks.results.tables.all_channels import ALL_CHANNELS
from weightwarden.logger.release import Pace, slot_seconds

PACE = Pace(tokens=8, milliseconds=200)


def test_a_server_that_is_faster_than_the_pace_has_no_underruns() -> None:
    moments = np.array([0.5 + 0.02 * at for at in range(300)])
    release = released(moments, PACE)
    assert release.underruns == []
    assert release.start_slot is not None
    assert slot_seconds(release.start_slot - 1) < moments[7] <= slot_seconds(release.start_slot)


def test_a_stall_is_one_run_of_underruns_before_the_group_that_waits() -> None:
    moments = np.array([0.5 + 0.02 * at for at in range(300)])
    moments[100:] += 2.0
    [(group, ticks)] = released(moments, PACE).underruns
    assert group == 100 // 8
    assert 7 <= ticks <= 10  # two seconds are ten ticks, less what the start had in hand


def test_moments_ascend_and_the_first_has_the_queue() -> None:
    moments = SimulatedServer(first_seconds=3.0, first_spread=0.1).moments(50, np.random.default_rng(1))
    assert (np.diff(moments) > 0).all()
    assert 2 < moments[0] < 4.5


def test_the_sum_is_of_all_channels() -> None:
    seen = timing(PACE, 50, 100, np.random.default_rng(2))
    assert (seen.records, seen.state) == (50, "paced")
    found = row("independent", 0.07, "8/200", seen, 0.001)
    assert found.timing == pytest.approx(seen.bits / seen.tokens)
    assert found.whole > 0.07 + found.timing
    assert found.days == pytest.approx(8e12 / (found.whole * 1e12), rel=1e-6)


def test_the_command_prints_its_table() -> None:
    result = CliRunner().invoke(main, ["--answers", "20", "--mean-tokens", "40"])
    assert result.exit_code == 0, result.output
    assert ALL_CHANNELS.markdown([]).splitlines()[0] in result.output
    assert result.output.count("| exact |") == 3
