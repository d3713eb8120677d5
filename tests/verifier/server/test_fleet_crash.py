"""SIGKILL of servers of several models: every drawn record of each model is judged once, by two servers together."""

from pathlib import Path

import pytest

from benchmarks.fleet.__main__ import run
from tests.postgresql import new_database

pytestmark = pytest.mark.slow


def test_two_servers_of_three_models_that_are_killed_judge_every_drawn_record_once(
    tmp_path: Path, postgresql: str, model_folder: Path
) -> None:
    found = run(tmp_path, new_database(postgresql), kills=4, servers=2)
    assert found.kills == 4
    assert found.verdicts == found.drawn
    assert all(found.drawn.values())
    assert [model for model, state in found.states.items() if state == "alarm"] == ["thief"]
