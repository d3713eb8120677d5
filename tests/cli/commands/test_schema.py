"""JSON Schemas: those in docs/schemas are those of the code, and hold for real files."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from tests.cli.commands.test_run import invoke
from tests.places import BUNDLED_POLICY, ROOT
from tests.recorded import RECORDED
from weightwarden.cli.commands.schema import FILES


def schema(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "docs" / "schemas" / f"{kind}.json").read_text())
    return found


@pytest.mark.parametrize("kind", FILES)
def test_the_documented_schema_is_the_codes(kind: str) -> None:
    result = invoke("schema", kind)
    assert result.exit_code == 0
    assert json.loads(result.output) == schema(kind)
    Draft202012Validator(schema(kind))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_traffic_is_valid(path: Path) -> None:
    validator = Draft202012Validator(schema("traffic-record"))
    for line in path.read_text().splitlines()[:20]:
        validator.validate(json.loads(line))
    broken = json.loads(path.read_text().splitlines()[0]) | {"seed": "none"}
    assert not validator.is_valid(broken)


def test_the_bundled_policy_is_valid() -> None:
    Draft202012Validator(schema("policy")).validate(tomllib.loads(BUNDLED_POLICY.read_text()))
