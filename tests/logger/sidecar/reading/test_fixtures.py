"""The public fixtures of tool calls and reasoning: all pass but those of which a list states the reason."""

import pytest
from canitoolcall.results import Status

from benchmarks.reading.failures import FAILURES
from benchmarks.reading.fixtures import Case, cases, status
from weightwarden.logger.sidecar.reading.families import FAMILIES

FOUND, _ = cases()


@pytest.mark.parametrize("whole_calls", [False, True])
@pytest.mark.parametrize("case", FOUND, ids=lambda case: case.fixture.id)
def test_a_fixture_passes_unless_a_reason_is_listed(case: Case, whole_calls: bool) -> None:
    found, said = status(case, whole_calls=whole_calls)
    if case.fixture.id in FAILURES[whole_calls]:
        assert found is Status.FAIL, "passes, and is listed as a failure"
    else:
        assert found is Status.PASS, said


def test_every_family_has_fixtures() -> None:
    assert {case.family for case in FOUND} == set(FAMILIES)


def test_the_listed_failures_are_fixtures() -> None:
    ids = {case.fixture.id for case in FOUND}
    for listed in FAILURES.values():
        assert set(listed) <= ids
