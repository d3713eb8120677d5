"""The public fixtures of tool calls and reasoning: all pass but those of which a list states the reason."""

import pytest
from canitoolcall.fixtures import load_family
from canitoolcall.results import Status

from benchmarks.reading.failures import FAILURES
from benchmarks.reading.fixtures import Case, cases, status
from benchmarks.reading.parsed import read_parts
from weightwarden.logger.sidecar.reading.families import FAMILIES

FOUND, _ = cases()
WELL_FORMED = [case for case in FOUND if "malformed" not in case.fixture.tags]


@pytest.mark.parametrize("whole_calls", [False, True])
@pytest.mark.parametrize("case", FOUND, ids=lambda case: case.fixture.id)
def test_a_fixture_passes_unless_a_reason_is_listed(case: Case, whole_calls: bool) -> None:
    found, said = status(case, whole_calls=whole_calls)
    if case.fixture.id in FAILURES[whole_calls]:
        assert found is Status.FAIL, "passes, and is listed as a failure"
    else:
        assert found is Status.PASS, said


@pytest.mark.parametrize("case", WELL_FORMED, ids=lambda case: case.fixture.id)
def test_special_tokens_that_are_dropped_change_no_well_formed_fixture(case: Case) -> None:
    special = [text for text in load_family(case.fixture.family).markers if text.startswith(("<|", "<｜", "｜", "["))]
    text = case.fixture.raw_output
    assert read_parts(case.reader(dropped=special), [text]) == read_parts(case.reader(), [text])


def test_every_family_has_fixtures() -> None:
    assert {case.family for case in FOUND} == set(FAMILIES)


def test_the_listed_failures_are_fixtures() -> None:
    ids = {case.fixture.id for case in FOUND}
    for listed in FAILURES.values():
        assert set(listed) <= ids
