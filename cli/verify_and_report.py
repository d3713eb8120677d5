"""Verification with a progress bar, and its reports, shared by `verify run` and `verify demo`."""

from pathlib import Path

from weightwarden.cli.progress import progress_bar
from weightwarden.cli.reports.html import html_report
from weightwarden.cli.reports.json import json_report
from weightwarden.logger.files.output import write_text
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.run import Run, run_of
from weightwarden.verifier.verification.run_input import RunInput


def verify_with_progress(executor: Executor, given: RunInput) -> Run:
    """The verified run of an input."""
    with progress_bar(given.tokens, "Replaying tokens") as progress:
        return run_of(executor, given, progress)


def write_reports(context: Run, json_path: Path | None, html_path: Path | None) -> None:
    """Write the requested reports, each whole or not at all."""
    if html_path is not None:
        write_text(html_path, html_report(context))
    if json_path is not None:
        write_text(json_path, json_report(context))
