"""The sum of all channels."""

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.guarantees.all_channels import main, row, timing
from benchmarks.release.large_server import LARGE, served
from benchmarks.results.tables.all_channels import ALL_CHANNELS
from weightwarden.logger.release import Pace


def test_the_sum_is_of_all_channels() -> None:
    seen = timing(Pace(tokens=8, milliseconds=200), served(LARGE, 50, np.random.default_rng(2)))
    assert (seen.records, seen.state) == (50, "paced")
    found = row("independent", 0.07, "8/200", seen, 0.001)
    assert found.timing == pytest.approx(seen.bits / seen.tokens)
    assert found.whole > 0.07 + found.timing
    assert found.days == pytest.approx(8e12 / (found.whole * 1e12), rel=1e-6)


def test_the_command_prints_its_table() -> None:
    result = CliRunner().invoke(main, ["--answers", "20"])
    assert result.exit_code == 0, result.output
    assert ALL_CHANNELS.markdown([]).splitlines()[0] in result.output
    assert result.output.count("| exact |") == 3
