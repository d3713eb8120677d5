"""Reader of reports of `verify run`, for estimates, monitors and checks. It is strict, and limits the size."""

import json
from pathlib import Path

from pydantic import ValidationError

from weightwarden.cli.reports.contents import REPORT_FORMAT, Report
from weightwarden.errors import WeightwardenError
from weightwarden.sampler.validation_message import validation_message
from weightwarden.text import printable

MAX_REPORT_BYTES = 512 * 2**20


class ReportError(WeightwardenError, ValueError):
    """A report that cannot be used: unreadable, not a report of `verify run`, or of another subject."""


def read_report(path: Path) -> Report:
    """The report in a JSON file.

    Raises:
        ReportError: the file is unreadable, too large, not JSON, or no such report; names the file and the field.
    """
    return parse_report(read_content(path), path)


def read_content(path: Path) -> bytes:
    """The bytes of a JSON report.

    Raises:
        ReportError: the file is unreadable or too large.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_REPORT_BYTES:
        raise ReportError(f"{path}: larger than {MAX_REPORT_BYTES} bytes, which no report is")
    return content


def parse_report(content: bytes, path: Path) -> Report:
    """The report in the content of a JSON file.

    Args:
        content: the bytes.
        path: the file, for messages.

    Raises:
        ReportError: the content is not JSON, or no such report; names the file and the field.
    """
    try:
        parsed = json.loads(content)
        said = parsed.get("format") if isinstance(parsed, dict) else None
        if isinstance(said, str) and said.startswith("weightwarden-report/") and said != REPORT_FORMAT:
            raise ReportError(
                f"{path}: format: a report of another version ({printable(said)[:40]}, not {REPORT_FORMAT}):"
                " verify again"
            )
        return Report.model_validate(parsed)
    except ReportError:
        raise
    except ValidationError as error:
        raise ReportError(f"{path}: no report of `verify run` of this version: {validation_message(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: no JSON: {printable(str(error))[:200]}") from None
