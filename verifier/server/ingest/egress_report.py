"""Strict reading of a tap's report, as `verify egress --json` writes it."""

from collections.abc import Set

from pydantic import ValidationError

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.storage import StoredFile, opened
from weightwarden.logger.formats.strict_json import strict_object
from weightwarden.text import printable
from weightwarden.verifier.egress.report import EGRESS_FORMAT, PARTS, EgressReport

MAX_BYTES = 1 << 24
"""Largest size of a report."""
AHEAD_SECONDS = 60.0
"""Seconds by which the clock of a tap may be ahead."""
SHOWN = 3
"""Number of classes, or findings, that the text of a report names."""


class UnfitReport(WeightwardenError, ValueError):
    """A file is no report of a tap that this server can use."""


def read_report(file: StoredFile, origins: Set[str], now: float) -> EgressReport:
    """The report in a file, complete, consistent, and about one of the logs.

    Args:
        file: the file.
        origins: origins of the followed logs.
        now: the time, seconds since 1970.

    Raises:
        UnfitReport: the file is no such report.
        ArchiveUnreadable: the file cannot be read.
    """
    if file.size is not None and file.size > MAX_BYTES:
        raise UnfitReport(f"{file.size} bytes, more than a report has")
    with opened(file.url) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UnfitReport(f"more than {MAX_BYTES} bytes, the most that a report has")
    report = _parsed(data)
    fault = _fault(report, origins, now)
    if fault is not None:
        raise UnfitReport(fault)
    return report


def _parsed(data: bytes) -> EgressReport:
    try:
        fields = strict_object(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise UnfitReport("not UTF-8 text") from None
    except ValueError as error:
        raise UnfitReport(f"not strict JSON: {printable(str(error))}") from None
    if fields.get("format") != EGRESS_FORMAT:
        raise UnfitReport(f"its format is {printable(repr(fields.get('format')))}, not {EGRESS_FORMAT!r}")
    try:
        return EgressReport.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UnfitReport(f"field {printable(place)}: {printable(first['msg'])}") from None


def _fault(report: EgressReport, origins: Set[str], now: float) -> str | None:
    """The reason why a report that follows its schema cannot be used."""
    totals = [report.total(part) for part in PARTS]
    wanted = "unexplained" if report.unexplained else "watch" if report.findings else "clear"
    if report.verdict != wanted:
        return f"its verdict is {report.verdict}, and its content is {wanted}"
    if (report.frames, report.bytes) != (sum(frames for frames, _ in totals), sum(size for _, size in totals)):
        return "the sums of its classes are not its frames and bytes"
    if report.first_time is None or report.last_time is None:
        return "it is of no time: its captures hold no frame"
    if not 0 <= report.first_time <= report.last_time:
        return "it ends before it begins"
    if report.last_time > now + AHEAD_SECONDS:
        return f"it ends {report.last_time - now:.0f} s after now: compare the clocks"
    if report.log.origin not in origins:
        named = "no log" if report.log.origin is None else printable(report.log.origin)
        return f"its log is {named}, none of --public-key"
    return None


def text_of(report: EgressReport) -> str:
    """The findings of a report that is not clear, in one line."""
    if report.verdict == "unexplained":
        frames, size = report.total("unexplained")
        kinds = [f"{printable(one.name)} ({one.frames})" for one in report.unexplained]
        first = printable(report.unexplained[0].example)
        return f"{frames} frames, {size} bytes that nothing explains: {_some(kinds)}; look at {first}"
    return _some([printable(finding) for finding in report.findings])


def _some(texts: list[str]) -> str:
    more = f", and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more
