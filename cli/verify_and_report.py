"""What `verify run` and `verify demo` share: verify the records of an input with progress, and write the reports."""

from pathlib import Path

from weightwarden.cli.inputs.run_input import Input
from weightwarden.cli.output_files import write_text
from weightwarden.cli.progress import progress_bar
from weightwarden.cli.reports.context import RunContext
from weightwarden.cli.reports.html import html_report
from weightwarden.cli.reports.json import json_report
from weightwarden.verifier.verification.executor import Engine
from weightwarden.verifier.verification.exposure import Exposure
from weightwarden.verifier.verification.run_verdict import verify


def verify_with_progress(engine: Engine, given: Input) -> RunContext:
    """Verify the records of an input."""
    with progress_bar(given.tokens, "Replaying tokens") as engine.progress:
        verification = verify(engine, given.records())
    replayer = engine.replayer
    return RunContext(
        verification=verification,
        exposure=Exposure.of(verification.charges, given.audited, engine.policy, verification.vocabulary),
        policy=engine.policy,
        given=given,
        model_path=str(replayer.identity.path),
        model_digest=replayer.identity.digest,
        dtype=replayer.dtype,
        device=replayer.device,
        tokenizer=replayer.tokenizer,
        workers=engine.workers,
        deaths=engine.deaths,
    )


def write_reports(context: RunContext, json_path: Path | None, html_path: Path | None) -> None:
    """Write the reports that were asked for, each whole or not at all."""
    if html_path is not None:
        write_text(html_path, html_report(context))
    if json_path is not None:
        write_text(json_path, json_report(context))
