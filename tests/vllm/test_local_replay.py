"""vLLM's engine in a process of this interpreter: the rows of transformers, in chunks of prompts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.local_replay.__main__ import packages_of
from tests.places import ROOT
from tests.recorded import GREEDY

PROGRAM = Path(__file__).with_name("local_replay.py")


@pytest.mark.vllm
def test_rows_are_those_of_transformers(model_folder: Path) -> None:
    """Steps of 96 tokens: every record's prompt or answer is cut. An abandoned batch leaves nothing behind."""
    site = packages_of(Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"]))
    arguments = [site, str(model_folder), str(GREEDY), "96", "3"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["largest"] < 1e-3
    assert found["again"] == found["positions"] > 100
