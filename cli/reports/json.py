"""The JSON report of a run (`weightwarden.cli.reports.contents.Report`)."""

import json
from dataclasses import asdict
from typing import Any

from weightwarden.cli.reports.figures import statistics
from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.cli.reports.timing import timing_contents
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.run import Run
from weightwarden.verifier.verification.summary import FlaggedRecord, UnverifiableRecord


def json_report(context: Run, identity: ReportIdentity) -> str:
    """The report as JSON text."""
    found = context.verification
    report = {
        **identity.entries(context),
        "verified_records": found.records,
        "retokenised_records": context.given.retokenised,
        "total_records": context.given.audited.records,
        "audit_rate": context.given.audit_rate,
        "verified_tokens": found.tokens,
        "safe": found.count(Verdict.SAFE),
        "suspicious": found.count(Verdict.SUSPICIOUS),
        "dangerous": found.count(Verdict.DANGEROUS),
        "outside_grammar": found.outside_grammar,
        "forced": found.forced,
        "outlying_records": found.outlying,
        "honest_outlying_records": found.honest_outlying,
        "early_stops": found.early_stops,
        "unanswered": found.unanswered,
        "charged_bits_per_token": found.charged_bits_per_token,
        "charged_fraction": found.charged_fraction,
        "tied_positions": found.tied_positions,
        "unresolved_positions": found.unresolved_positions,
        "unresolved_bits_per_token": found.unresolved_bits_per_token,
        "unsteady_positions": found.unsteady_positions,
        "run_p_value": found.run_p_value,
        "statistics": statistics(context),
        "timing": timing_contents(context.given.releases),
        "flagged": [_flagged(context, record) for record in found.flagged],
        "unverifiable": [_unverifiable(context, record) for record in found.unverifiable],
        "replicas": [{"replica": name, **asdict(counts)} for name, counts in found.summary.replicas.items()],
        "adapters": [
            {"adapter": name, "digest": digest, **asdict(counts)}
            for (name, digest), counts in found.summary.adapters.items()
        ],
        "seconds": {"forward": found.timing.forward, "score": found.timing.score, "total": found.total_seconds},
        "tokens_per_second": found.tokens / found.total_seconds,
        "executor": {"workers": context.workers, "worker_deaths": context.deaths},
        "policy_digest": context.policy.digest(),
        "replay": context.policy.made_for.replay,
        "dtype": context.dtype,
        "device": context.device,
        "unsafe_unsigned": not context.given.signed,
        **context.given.provenance,
    }
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _flagged(context: Run, record: FlaggedRecord) -> dict[str, Any]:
    return {
        **_place(context, record.place),
        "reasons": record.reasons,
        "p_value": record.p_value,
        "tokens": record.tokens,
        "outliers": record.outliers,
    }


def _unverifiable(context: Run, record: UnverifiableRecord) -> dict[str, Any]:
    return {**_place(context, record.place), "tokens": record.tokens, "worker_deaths": record.deaths, "why": record.why}


def _place(context: Run, place: int) -> dict[str, Any]:
    at = context.given.place(place)
    return {"record": context.given.indices[place], "file": at.source, at.unit: at.number}
