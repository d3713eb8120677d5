"""Smuggled bytes on the link are found, by the kind of their frames, and nothing honest is."""

import pytest

from benchmarks.egress.smuggling import CASES
from tests.verifier.egress.examples import accounted, honest


def test_an_honest_link_is_clear() -> None:
    report = accounted(honest().frames)
    assert report.verdict == "clear", report
    assert report.exchanges.completions == 3
    assert report.exchanges.logged_tokens == 36
    assert report.exchanges.readiness == 1
    assert not report.findings


@pytest.mark.parametrize("name", CASES)
def test_smuggled_bytes_are_unexplained(name: str) -> None:
    smuggle, kind = CASES[name]
    report = accounted(honest(smuggle).frames)
    assert report.verdict == "unexplained"
    assert kind in {one.name for one in report.unexplained}, report.unexplained
    assert all(one.bits == 8 * one.bytes for one in report.unexplained)
