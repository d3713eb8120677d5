"""Schemathesis against the sidecar's own OpenAPI description: no 500, and nothing that it does not describe."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream
from weightwarden.logger.sidecar.wire.openapi import description

SCHEMA = schemathesis.openapi.from_dict(description())
CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]

statuses: set[int] = set()


@pytest.fixture(scope="module")
def described(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream
) -> Iterator[Sidecar]:
    """A sidecar whose context is short, so that no answer is long."""
    settings = settings_in(tmp_path_factory.mktemp("described"), model_folder, shared_upstream.url, max_model_len=64)
    with running(settings) as sidecar:
        yield sidecar
    assert {200, 400} <= statuses  # otherwise nothing was tested


@SCHEMA.parametrize()
@settings(max_examples=75, suppress_health_check=list(HealthCheck), derandomize=True)  # some mutations have no values
def test_every_answer_is_one_that_is_described_and_none_is_a_500(
    described: Sidecar, case: "schemathesis.Case[Any]"
) -> None:
    if isinstance(case.body, dict) and "model" in case.body and len(str(case.body["model"])) % 2:
        case.body["model"] = "small"  # else hardly any request gets as far as the model
    response = case.call(base_url=described.url)
    if case.method == "POST":
        statuses.add(response.status_code)
    case.validate_response(response, checks=CHECKS)
