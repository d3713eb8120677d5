"""Metadata of the Parquet file of a run's tokens."""

import json

from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.verifier.verification.run import Run

TOKENS_FORMAT = "weightwarden-tokens/1"


def token_metadata(context: Run, identity: ReportIdentity) -> dict[str, str]:
    """The file's metadata: its format, and the identity of the run's reports as JSON."""
    return {
        "weightwarden.format": TOKENS_FORMAT,
        "weightwarden.report": json.dumps(identity.entries(context), allow_nan=False),
    }
