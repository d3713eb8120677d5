"""What `verify run` and `verify demo` share: verify placed records with progress, and write the reports."""

from collections.abc import Sequence
from pathlib import Path

from cli.files import write_whole
from cli.progress import progress_bar
from cli.reports.context import RunContext
from cli.reports.html import html_report
from cli.reports.json import json_report
from logger.placed import PlacedRecord
from verifier.replay import Replayer
from verifier.verification import Verifier


def verify_with_progress(
    verifier: Verifier,
    replayer: Replayer,
    traffic: Sequence[PlacedRecord],
    indices: Sequence[int],
    audit_rate: float | None = None,
) -> RunContext:
    """Verify the records of the input that stand at some indices.

    Args:
        traffic: all records of the input. indices: which of them to verify.
        audit_rate: the rate at which an audit key chose them, or None when they are all.
    """
    placed = [traffic[i] for i in indices]
    tokens = sum(len(item.record.output_token_ids) for item in placed)
    with progress_bar(tokens, "Replaying tokens") as verifier.progress:
        verification = verifier.verify([item.record for item in placed])
    return RunContext(
        verification=verification,
        policy=verifier.policy,
        placed=placed,
        indices=indices,
        records_in_all=len(traffic),
        audit_rate=audit_rate,
        model_path=str(replayer.identity.path),
        model_digest=replayer.identity.digest,
        dtype=replayer.dtype,
        device=replayer.device,
        tokenizer=replayer.tokenizer,
    )


def write_reports(context: RunContext, json_path: Path | None, html_path: Path | None) -> None:
    """Write the reports that were asked for, each whole or not at all."""
    if html_path is not None:
        write_whole(html_path, html_report(context))
    if json_path is not None:
        write_whole(json_path, json_report(context))
