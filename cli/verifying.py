"""What `verify run` and `verify demo` share: verify placed records with progress, and write the reports."""

from pathlib import Path

from cli.files import write_text
from cli.inputs import Input
from cli.progress import progress_bar
from cli.reports.context import RunContext
from cli.reports.html import html_report
from cli.reports.json import json_report
from verifier.exposure import Exposure
from verifier.replay import Replayer
from verifier.verification import Verifier


def verify_with_progress(
    verifier: Verifier,
    replayer: Replayer,
    given: Input,
) -> RunContext:
    """Verify the records of an input."""
    tokens = sum(len(item.record.output_token_ids) for item in given.placed)
    with progress_bar(tokens, "Replaying tokens") as verifier.progress:
        verification = verifier.verify([item.record for item in given.placed])
    return RunContext(
        verification=verification,
        exposure=Exposure.of(verification.charges, given.audited, verifier.policy, verification.vocabulary),
        policy=verifier.policy,
        given=given,
        model_path=str(replayer.identity.path),
        model_digest=replayer.identity.digest,
        dtype=replayer.dtype,
        device=replayer.device,
        tokenizer=replayer.tokenizer,
    )


def write_reports(context: RunContext, json_path: Path | None, html_path: Path | None) -> None:
    """Write the reports that were asked for, each whole or not at all."""
    if html_path is not None:
        write_text(html_path, html_report(context))
    if json_path is not None:
        write_text(json_path, json_report(context))
