"""What every client gets through the sidecar, feature by feature."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.upstream import FINAL, PLAIN
from tests.logger.sidecar.running import Sidecar
from tests.places import ROOT

pytestmark = pytest.mark.clients
PROGRAMS = ROOT / "tests" / "clients" / "programs"
NAMES = ("openai", "anthropic", "langchain", "pydantic_ai", "instructor", "litellm")
TIMEOUT = 300


def results_of(name: str, python: Path, url: str) -> dict[str, dict[str, Any]]:
    """The result, or the fault, of each feature of a client."""
    [program] = PROGRAMS.glob(f"{name}_package*.py")
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [python, program, url], capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return results


def is_what_was_said(value: Any) -> bool:
    """True for the server's texts, a person, or a call with its arguments."""
    if isinstance(value, dict):
        return value.keys() == {"name", "age"} and isinstance(value["age"], int)
    if isinstance(value, list):
        return value in (["get_weather", {"city": "Paris"}], ["get_weather"] * 2, ["small", "small"])
    structured = value.startswith("{") and is_what_was_said(json.loads(value))
    return structured or value in (PLAIN, FINAL, "equal", "model_not_found", "not_found_error")


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_of_a_client_works(name: str, python: Path, served: Sidecar) -> None:
    results = results_of(name, python, served.url)
    assert f"| {'; '.join(results)} |" in (ROOT / "docs" / "sidecar.md").read_text(encoding="utf-8")
    faults = {feature: found for feature, found in results.items() if not is_what_was_said(found.get("ok", []))}
    assert not faults, json.dumps(faults, indent=1)
