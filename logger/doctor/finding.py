"""The result of one check, and of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The status of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was checked, a few words.
        status: a fault prevents the start or the service; a warning does not.
        found: the finding, one line.
        advice: what to do, one line; empty if the status is ok.
    """

    check: str
    status: Status
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """A finding without anything to do."""
    return Finding(check=check, status=Status.OK, found=found)


def warning(check: str, found: str, advice: str) -> Finding:
    """A finding that does not prevent the start."""
    return Finding(check=check, status=Status.WARNING, found=found, advice=advice)


def fault(check: str, found: str, advice: str) -> Finding:
    """A finding that prevents the start or the service."""
    return Finding(check=check, status=Status.FAULT, found=found, advice=advice)


def has_faults(findings: Sequence[Finding]) -> bool:
    """True if any finding is a fault."""
    return any(finding.status is Status.FAULT for finding in findings)
