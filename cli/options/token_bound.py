"""Bound of the bits that a token can carry unseen, from a policy, from a report, or given as a number."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from math import log2
from pathlib import Path

import click

from weightwarden.cli.reports.reading import ReportError, read_report
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.verification.series_monitor import honest_limits


@dataclass(frozen=True)
class TokenBound:
    """A bound of the bits that a token can carry unseen.

    Attributes:
        bits_per_token: the bound.
        log2_vocabulary: bits of a freely chosen token.
        source: origin of the bound, in words.
        contains_gamble: True if it covers unaudited messages, and so gambling.
    """

    bits_per_token: float
    log2_vocabulary: float
    source: str
    contains_gamble: bool = False


def token_bound(
    policy_path: Path | None, report_path: Path | None, bits_per_token: float | None, vocabulary: int | None
) -> TokenBound:
    """The bound from one of the three sources, else from the bundled policy."""
    if sum(given is not None for given in (policy_path, report_path, bits_per_token)) > 1:
        raise click.UsageError("give only one of --policy, --report and --bits-per-token")
    if report_path is not None:
        if vocabulary is not None:
            raise click.UsageError("--vocabulary and --report exclude each other: the report has a vocabulary")
        report = read_report(report_path)
        statistics = report.statistics
        bits = statistics.bits_per_token.leading
        if not bits.conclusive:
            raise ReportError(f"{report_path}: too little was audited for an estimate: {bits.needs}")
        sampled = len(statistics.records.tokens) < report.total_records
        whose = "all records, what unaudited ones gambled included" if sampled else "all records, every one audited"
        name = f"{statistics.bits_per_token.leading_code} bound"
        limit = f"{name} for {whose}, {100 * statistics.confidence:g}% confidence"
        doubts = ("; ITS VERDICT IS ALARM" if report.verdict == "alarm" else "") + (
            "; unsigned" if report.unsafe_unsigned else ""
        )
        capped = min(bits.limit, statistics.log2_vocabulary)
        return TokenBound(capped, statistics.log2_vocabulary, f"{report_path}: {limit}{doubts}", sampled)
    vocabulary = vocabulary or 65_536
    if bits_per_token is not None:
        return TokenBound(bits_per_token, log2(vocabulary), "as given")
    if policy_path is None:
        with as_file(files("weightwarden.cli") / "bundled") as bundled:
            policy, name = read_policy(bundled / "policy.toml"), "bundled policy"
    else:
        policy, name = read_policy(policy_path), str(policy_path)
    what = "pooled bound on the half that did not choose it" if isinstance(policy, Policy) else "ties, counted twice"
    limit_of = honest_limits(policy)["pooled_bits"]
    return TokenBound(limit_of, log2(vocabulary), f"{name}: {what}, upper 97.5% limit by clusters, approximate")
