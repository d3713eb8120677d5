"""Verification with a progress bar, and its reports, shared by `verify run` and `verify demo`."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from weightwarden.cli.progress import progress_bar
from weightwarden.cli.reports.html import html_report
from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.cli.reports.json import json_report
from weightwarden.cli.reports.tokens import token_metadata
from weightwarden.logger.files.atomic import write_whole
from weightwarden.logger.files.output import OutputError, write_text
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.run import Run, run_of
from weightwarden.verifier.verification.run_input import RunInput
from weightwarden.verifier.verification.token_frame import TokenWriter


def verify_with_progress(executor: Executor, given: RunInput) -> Run:
    """The verified run of an input."""
    with progress_bar(given.tokens, "Replaying tokens") as progress:
        return run_of(executor, given, progress)


def verify_and_report(
    executor: Executor,
    given: RunInput,
    identify: Callable[[], ReportIdentity],
    *,
    json_path: Path | None = None,
    html_path: Path | None = None,
    tokens_path: Path | None = None,
) -> tuple[Run, ReportIdentity]:
    """The verified run of an input, and the identity of the reports that were written, each whole or not at all.

    Args:
        executor: judges the records.
        given: the records.
        identify: the reports' identity, called when the run is over.
        json_path: JSON report, if wanted.
        html_path: HTML report, if wanted.
        tokens_path: Parquet file of all tokens, if wanted; it is written while the run is under way.

    Raises:
        OutputError: a file cannot be written.
    """
    if tokens_path is None:
        context = verify_with_progress(executor, given)
        identity = identify()
    else:
        context, identity = _with_tokens(executor, given, identify, tokens_path)
    if html_path is not None:
        write_text(html_path, html_report(context, identity))
    if json_path is not None:
        write_text(json_path, json_report(context, identity))
    return context, identity


def _with_tokens(
    executor: Executor, given: RunInput, identify: Callable[[], ReportIdentity], path: Path
) -> tuple[Run, ReportIdentity]:
    done: list[tuple[Run, ReportIdentity]] = []

    def write(stream: BinaryIO) -> None:
        with TokenWriter(stream, given.indices) as writer:
            executor.tokens = writer
            context = verify_with_progress(executor, given)
            identity = identify()
            writer.finish(token_metadata(context, identity))
        done.append((context, identity))

    try:
        write_whole(path, write)
    except OSError as error:
        if error.errno is None:
            raise
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return done[0]
