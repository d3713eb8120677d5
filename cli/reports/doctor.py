"""The findings of a doctor, on one screen or as JSON."""

import json
from collections import Counter
from collections.abc import Sequence

from weightwarden.logger.doctor.finding import Finding, Status

_MARKS = {Status.OK: "ok", Status.WARNING: "warning", Status.FAULT: "FAULT"}


def screen(title: str, findings: Sequence[Finding]) -> str:
    """One line a check with its status, and below a warning or fault one line with what to do."""
    width = max(len(finding.check) for finding in findings)
    lines = [title, ""]
    for finding in findings:
        lines.append(f"  {_MARKS[finding.status]:<8} {finding.check:<{width}}  {finding.found}")
        if finding.advice:
            lines.append(f"  {'':<8} {'':<{width}}  -> {finding.advice}")
    counts = Counter(finding.status for finding in findings)
    warnings, faults = _counted(counts[Status.WARNING], "warning"), _counted(counts[Status.FAULT], "fault")
    return "\n".join([*lines, "", f"{counts[Status.OK]} ok, {warnings}, {faults}"])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def as_json(findings: Sequence[Finding]) -> str:
    """The findings as a JSON object: `faults`, `warnings`, and `findings` with check, status, found and advice."""
    counts = Counter(finding.status for finding in findings)
    rows = [
        {"check": one.check, "status": one.status.value, "found": one.found, "advice": one.advice or None}
        for one in findings
    ]
    return json.dumps({"faults": counts[Status.FAULT], "warnings": counts[Status.WARNING], "findings": rows}, indent=2)
