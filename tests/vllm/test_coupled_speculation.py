"""The plugin of `examples/coupled-speculation` in vLLM's own environment, loaded as vLLM loads plugins."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recording.vllm_server import vllm_server
from tests.places import EXAMPLES, ROOT
from weightwarden.verifier.errors import ReplayServerError

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed plugin."""
    target = tmp_path_factory.mktemp("plugin")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(target), str(EXAMPLES / "coupled-speculation")]
    subprocess.run(command, check=True)
    return target


@pytest.fixture(scope="module")
def report(installed: Path) -> Any:
    command = [os.environ["WEIGHTWARDEN_VLLM_PYTHON"], str(ROOT / "tests" / "vllm" / "coupled_sampler.py")]
    environment = os.environ | {"PYTHONPATH": str(installed), "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_vllms_sampler_emits_the_seeded_draws(report: Any) -> None:
    drawn = report["drawn"]
    assert report["rule"] == "weightwarden_coupled_speculation.acceptance"
    assert report["whole"] == [drawn[:3], drawn[4:5], drawn[8:12]]
    assert report["chunks"] == report["whole"]


def test_other_samplers_are_refused(report: Any) -> None:
    assert report["block"].startswith("CoupledSpeculationError: coupled speculation replaces rejection_sample_method")
    assert report["v1"].startswith("CoupledSpeculationError: coupled speculation needs vLLM's V2 model runner")


def test_a_server_that_speculates_in_the_v1_runner_does_not_start(
    installed: Path, model_folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    speculation = json.dumps({"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4})
    with (
        pytest.raises(ReplayServerError),
        vllm_server(
            Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"]),
            model_folder,
            log,
            ("--enforce-eager", "--speculative-config", speculation),
            {"PYTHONPATH": str(installed)},
        ),
    ):
        pass
    said = log.read_text(encoding="utf-8", errors="replace")
    assert "Speculative decoding is coupled to the seeded draw (vLLM 0.32." in said
    assert "coupled speculation needs vLLM's V2 model runner" in said
