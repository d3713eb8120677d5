"""Bound of the bits that a token can carry unseen, from a policy, from a report, or given as a number."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from math import log2
from pathlib import Path

import click

from weightwarden.cli.reports.contents import Timing
from weightwarden.cli.reports.reading import ReportError, read_report
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.ledger import MAX_END_BITS
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.statistics.total_limit import largest_ratio, stock_at
from weightwarden.verifier.verification.exposure import CONFIDENCE
from weightwarden.verifier.verification.series_monitor import honest_limits


@dataclass(frozen=True)
class TokenBound:
    """A bound of the bits that a token can carry unseen.

    Attributes:
        bits_per_token: the bound.
        log2_vocabulary: bits of a freely chosen token.
        source: origin of the bound, in words.
        stock_bits: bits that tokens carry once, beside it, in unaudited messages; None for a bound that says nothing of
            them.
        confidence: of a bound from a sample.
        timing: timing of a report; None for a bound without one.
    """

    bits_per_token: float
    log2_vocabulary: float
    source: str
    stock_bits: float | None = None
    confidence: float = CONFIDENCE
    timing: Timing | None = None


def token_bound(
    policy_path: Path | None, report_path: Path | None, bits_per_token: float | None, vocabulary: int | None
) -> TokenBound:
    """The bound from one of the three sources, else from the bundled policy."""
    if sum(given is not None for given in (policy_path, report_path, bits_per_token)) > 1:
        raise click.UsageError("give only one of --policy, --report and --bits-per-token")
    if report_path is not None:
        if vocabulary is not None:
            raise click.UsageError("--vocabulary and --report exclude each other: the report has a vocabulary")
        return _of_report(report_path)
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


def _of_report(path: Path) -> TokenBound:
    report = read_report(path)
    statistics = report.statistics
    bits = statistics.bits_per_token.leading
    if not bits.conclusive:
        raise ReportError(f"{path}: too little was audited for an estimate: {bits.needs}")
    sampled = len(statistics.records.tokens) < report.total_records
    whose = (
        f"all records, audited or not, {100 * statistics.confidence:g}% confidence"
        if sampled
        else "all records, every one audited"
    )
    doubts = ("; ITS VERDICT IS ALARM" if report.verdict == "alarm" else "") + (
        "; unsigned" if report.unsafe_unsigned else ""
    )
    return TokenBound(
        bits_per_token=min(bits.rate, statistics.log2_vocabulary),
        log2_vocabulary=statistics.log2_vocabulary,
        source=f"{path}: {statistics.bits_per_token.leading_code} bound for {whose}{doubts}",
        stock_bits=bits.stock_bits if sampled else None,
        confidence=statistics.confidence,
        timing=report.timing,
    )


def series_stock(bound: TokenBound, design: SamplingDesign, longest: int) -> float | None:
    """Bits that a series of unaudited answers can hold once, beside a bound's bits per token.

    That is the bound's own stock, or that of a limit whose price is made for every record that the series may have,
    whichever is more.

    Args:
        bound: the bound.
        design: sampling design of the series.
        longest: largest number of output tokens of an answer.
    """
    if bound.stock_bits is None:
        return None
    ratio = largest_ratio(design, longest, bound.log2_vocabulary, MAX_END_BITS)
    return max(bound.stock_bits, stock_at(ratio, bound.confidence))
