"""The summary of a link's account for a terminal."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime

from weightwarden.text import escaped, printable
from weightwarden.verifier.egress.report import PARTS, EgressReport, FrameClass

WIDTH, INDENT = 110, "    "
_MEANING = {
    "clear": "every frame is explained, and nothing speaks for a blind tap.",
    "watch": "no frame is unexplained, but not all is accounted for: see the findings.",
    "unexplained": "frames passed that neither the declared link nor the log explains.",
}


def egress_summary(report: EgressReport) -> str:
    """The summary: the verdict, the frames by class, the exchanges, the log and the findings."""
    exchanges, log = report.exchanges, report.log
    lines = [f"Verdict: {report.verdict.upper()}: {_MEANING[report.verdict]}", ""]
    lines += [f"  captured     {report.frames:,} frames, {report.bytes:,} bytes{_time(report)}"]
    for name in PARTS:
        frames, size = report.total(name)
        bits = f", {8 * size:,} bits" if name == "unexplained" else ""
        lines.append(f"  {name:<12} {frames:,} frames, {size:,} bytes{bits}")
    lines += [
        f"  exchanges    {exchanges.completions:,} completions that the log has, {exchanges.failed_attempts:,} failed"
        f" attempts, {exchanges.readiness:,} looks for readiness, {exchanges.open:,} not ended",
        f"  tokens       {exchanges.logged_tokens:,} of the log, {exchanges.cut_tokens:,} that the sidecar cut off",
        f"  dropped      {exchanges.dropped_bytes:,} of {exchanges.response_bytes:,} bytes of these responses, by the"
        " sidecar: all but the logged token ids",
        f"  log          {log.records:,} records; not seen: {log.unseen_between:,} between those that were,"
        f" {log.unseen_outside:,} before or after",
        "  heartbeats   " + _heartbeats(report),
    ]
    unfinished = [one.file for one in report.captures if one.unfinished]
    lines += [f"  unfinished   {printable(name)}: its last frame is still being written" for name in unfinished]
    lines += _table("Unexplained", report.unexplained)
    lines += _table("Undecided", report.undecided)
    lines += _table("Explained", report.explained)
    for title, said in (("Findings", report.findings), ("Notes", report.notes)):
        if said:
            lines += ["", title, *(line for one in said for line in _wrapped(one))]
    return "\n".join(lines)


def _table(title: str, classes: Sequence[FrameClass]) -> list[str]:
    if not classes:
        return []
    lines = ["", f"{title:<44} {'frames':>12} {'bytes':>15}  first"]
    lines += [f"  {one.name:<42} {one.frames:>12,} {one.bytes:>15,}  {printable(one.example)}" for one in classes]
    return lines


def _heartbeats(report: EgressReport) -> str:
    pulse = report.heartbeats
    if pulse.declared_seconds is None:
        return "none declared"
    return (
        f"{pulse.count:,}, one in {pulse.declared_seconds:g} s declared; at the longest {pulse.longest_seconds:.1f} s"
        " without one"
    )


def _time(report: EgressReport) -> str:
    if report.first_time is None or report.last_time is None:
        return ""
    try:
        first, last = (datetime.fromtimestamp(time, UTC) for time in (report.first_time, report.last_time))
    except (OverflowError, ValueError):
        return ", at impossible times"
    return f", {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


def _wrapped(sentence: str) -> list[str]:
    """A sentence as indented lines."""
    return textwrap.wrap(escaped(sentence), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
