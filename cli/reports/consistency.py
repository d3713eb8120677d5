"""Consistency of a JSON report: what can be computed from its own figures is computed again."""

from base64 import b64encode
from collections.abc import Iterator
from math import isclose

import numpy as np

from weightwarden.cli.reports.contents import ArchiveInput, CodeBits, RateLimits, Report, TrafficInput
from weightwarden.verifier.audit_selection import METHODS, traffic_root
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.statistics.conclusiveness import CONCLUSIVE_SHARE
from weightwarden.verifier.statistics.poisson_rates import estimated_rate
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.exposure import bits_limit
from weightwarden.verifier.verification.run import run_verdict
from weightwarden.verifier.verification.run_input import audit_digest

ROUNDED = 1e-9
"""Relative difference of two figures that are equal up to rounding."""
COLUMN_ROUNDED = 1e-6
"""Largest difference of a record's bits in a report from its bits: they are rounded to six places."""


def faults(report: Report) -> list[str]:
    """Sentences about figures of a report that contradict each other; empty where none do."""
    return [*_verdict(report), *_counts(report), *_figures(report), *_timing(report), *_inputs(report)]


def _verdict(report: Report) -> Iterator[str]:
    bits = report.statistics.bits_per_token
    expected = run_verdict(
        alarm=report.run_p_value <= RUN_ALARM_LEVEL,
        unverifiable=len(report.unverifiable),
        conclusive=bits.leading.conclusive,
    )
    if report.verdict != expected:
        yield f"verdict: {report.verdict}, but its figures give {expected}"


def _counts(report: Report) -> Iterator[str]:
    records, whole = report.statistics.records, not report.unverifiable
    judged = len(records.tokens)
    sums: list[tuple[str, int, int]] = [
        ("verified_tokens", report.verified_tokens, report.safe + report.suspicious + report.dangerous),
        ("verified_records", report.verified_records + len(report.unverifiable), judged),
        (
            "verified_tokens",
            report.verified_tokens + sum(record.tokens for record in report.unverifiable),
            sum(records.tokens),
        ),
    ]
    if whole:
        sums += [
            ("suspicious", report.suspicious, sum(records.suspicious)),
            ("dangerous", report.dangerous, sum(records.dangerous)),
            ("outlying_records", report.outlying_records, sum(records.outlying)),
            ("flagged", len(report.flagged), sum(records.flagged)),
        ]
    for name, stated, counted in sums:
        if stated != counted:
            yield f"{name}: {stated} where the other figures give {counted}"
    if report.forced > report.verified_tokens:
        yield f"forced: {report.forced}, more than there are tokens"
    if report.outside_grammar > report.dangerous:
        yield f"outside_grammar: {report.outside_grammar}, more than there are dangerous tokens"
    for name, whole_run in (
        ("records", report.verified_records),
        ("tokens", report.verified_tokens),
        ("dangerous", report.dangerous),
        ("flagged", len(report.flagged)),
    ):
        if sum(getattr(one, name) for one in report.replicas) > whole_run:
            yield f"replicas: {name} of all servers together are more than in the whole run"
        if sum(getattr(one, name) for one in report.adapters) > whole_run:
            yield f"adapters: {name} of all adapters together are more than in the whole run"
    if len({one.replica for one in report.replicas}) < len(report.replicas):
        yield "replicas: a server is named twice"
    if len({(one.adapter, one.digest) for one in report.adapters}) < len(report.adapters):
        yield "adapters: an adapter is named twice"
    if judged > report.total_records:
        yield f"total_records: {report.total_records}, but {judged} were audited"
    named = [record.record for record in (*report.flagged, *report.unverifiable)]
    if len(set(named)) < len(named):
        yield "flagged, unverifiable: a record is named twice"
    indices = report.indices
    if not set(named) <= set(indices):
        yield "flagged, unverifiable: a record is named that was not audited"
    if len(indices) != judged:
        yield f"selection: {len(indices)} records, but {judged} were audited"
    if report.retokenised_records > judged or report.early_stops > judged or report.unanswered > judged:
        yield "retokenised_records, early_stops, unanswered: more than there are audited records"


def _figures(report: Report) -> Iterator[str]:
    statistics = report.statistics
    bits, rates, records = statistics.bits_per_token, statistics.rates, statistics.records
    if not _equal(report.charged_fraction * statistics.log2_vocabulary, report.charged_bits_per_token):
        yield "charged_fraction: not charged_bits_per_token by log2_vocabulary"
    audited = AuditedPopulation.of(records.tokens, [], statistics.unaudited.table, _design(report))
    contradictions = list(_population(report, audited))
    yield from contradictions
    if contradictions:
        return
    bounds: dict[CodeName, CodeBits] = {"counting": bits.counting, "pooled": bits.pooled}
    for code, bound in bounds.items():
        yield from (f"bits_per_token.{code}: {what}" for what in _bound(code, bound, report, audited))
    events: dict[str, list[int]] = {
        "mismatch": records.mismatches,
        "suspicious": records.suspicious,
        "dangerous": records.dangerous,
    }
    for name, column in events.items():
        rate: RateLimits = getattr(rates, name)
        if not rate.low <= rate.value * (1 + ROUNDED) or not rate.value <= rate.high * (1 + ROUNDED):
            yield f"rates.{name}: the share is not between its limits"
        if not report.unverifiable and any(records.tokens):
            tokens_r = records.column("tokens")
            counted = estimated_rate(
                np.array(column, np.float64), tokens_r, records.column("probability"), audited.tokens
            )
            if not _equal(rate.value, min(max(counted, rate.low), rate.high)):
                yield f"rates.{name}: not the events of the records by their tokens"


def _population(report: Report, audited: AuditedPopulation) -> Iterator[str]:
    """Contradictions between the audited records, the others, and the draw."""
    statistics = report.statistics
    for name, stated, counted in (
        ("total_records", report.total_records, audited.records),
        ("total_tokens", statistics.total_tokens, audited.tokens),
        ("longest_record_tokens", statistics.longest_record_tokens, audited.longest),
    ):
        if stated != counted:
            yield f"{name}: {stated} where the records give {counted}"
    if not np.array_equal(statistics.records.column("probability"), audited.probabilities(audited.tokens_r)):
        yield "probability: not that of the draw"
    if (audited.probabilities(audited.unaudited.tokens_u) >= 1).any():
        yield "unaudited: a record that is certainly drawn was not"
    if not len(audited.tokens_r) or not audited.tokens:
        yield "records: none with a token"


def _design(report: Report) -> SamplingDesign | None:
    """The sampling design; None where all records are audited."""
    selection = report.selection
    return None if selection is None or selection.rate == 0 else SamplingDesign(selection.rate, selection.by)


def _bound(code: CodeName, bound: CodeBits, report: Report, audited: AuditedPopulation) -> Iterator[str]:
    statistics = report.statistics
    bits_r = statistics.records.bits(code)
    limit = bits_limit(audited, bits_r, statistics.log2_vocabulary)
    rounded = COLUMN_ROUNDED * float((1 / audited.probabilities(audited.tokens_r)).sum())
    for name, stated, counted in (
        ("audited", bound.audited * max(float(audited.tokens_r.sum()), 1.0), float(bits_r.sum())),
        ("rate", bound.rate * statistics.total_tokens, limit.rate_bits),
        ("stock_bits", bound.stock_bits, limit.stock_bits),
        ("limit_bits", bound.limit_bits, limit.bits),
    ):
        if not isclose(stated, counted, rel_tol=ROUNDED, abs_tol=rounded):
            yield f"{name}: {stated:g} bits where the records give {counted:g}"
    if not _equal(bound.limit * statistics.total_tokens, bound.limit_bits):
        yield "limit: not limit_bits by total_tokens"
    conclusive = audited.complete or bound.limit <= CONCLUSIVE_SHARE * statistics.log2_vocabulary
    if bound.conclusive != conclusive or (bound.needs is None) != conclusive:
        yield f"conclusive: {bound.conclusive} and needs: {bound.needs}, where the limit gives {conclusive}"


def _timing(report: Report) -> Iterator[str]:
    timing, total = report.timing, report.total_records
    table = timing.table
    for name in ("state", "records", "ticks", "underruns"):
        if getattr(timing, name) != getattr(table, name):
            yield f"timing.{name}: {getattr(timing, name)} where its counts give {getattr(table, name)}"
    for name in ("slot_bits", "underrun_bits", "end_bits", "unknown_bits", "bits", "bits_per_token"):
        stated, counted = getattr(timing, name), getattr(table, name)
        if (stated is None) != (counted is None) or (stated is not None and not _equal(stated, counted)):
            yield f"timing.{name}: {stated} where its counts give {counted}"
    if timing.records + timing.open_records != total:
        yield f"timing: {timing.records + timing.open_records} records, and there are {total}"
    tokens = report.statistics.total_tokens
    if timing.tokens > tokens or (timing.state == "paced" and timing.tokens != tokens):
        yield f"timing.tokens: {timing.tokens} of {tokens} output tokens"
    without = timing.counts.start_slots[-1]
    if (
        timing.counts.two_way_ends > timing.records
        or timing.counts.unknown_records > without
        or sum(timing.counts.records) > timing.records - without
    ):
        yield "timing.counts: more records than there are start slots for"


def _inputs(report: Report) -> Iterator[str]:
    traffic = [one for one in report.inputs if isinstance(one, TrafficInput)]
    archives = [one for one in report.inputs if isinstance(one, ArchiveInput)]
    if bool(traffic) == bool(archives) or bool(traffic) != report.unsafe_unsigned:
        yield "inputs: traffic files are unsigned, and archives are signed; not both"
        return
    total = sum(one.records for one in traffic) + sum(one.end - one.start for one in archives)
    if total != report.total_records:
        yield f"total_records: {report.total_records}, but the inputs hold {total}"
    if {one.origin for one in archives} - {report.log}:
        yield f"log: {report.log}, but the archives are of another"
    if (report.selection is None) != (report.audit_rate is None):
        yield "audit_rate, selection: one without the other"
    root = traffic_root(bytes.fromhex(one.sha256) for one in traffic)
    roots = root if traffic else b"".join(bytes.fromhex(one.root) for one in archives)
    indices = report.indices
    selection = report.selection
    if selection is not None and (selection.rate != report.audit_rate or selection.method != METHODS[selection.by]):
        yield "selection: not the draw of this rate and these units"
    if audit_digest(roots, _design(report), indices) != report.audit_digest:
        yield "audit_digest: not that of these inputs and this selection"
    if report.policy.digest != report.policy_digest or report.policy.model_digest != report.model_digest:
        yield "policy: its digest or its model is not the report's"
    if archives:
        last = archives[-1]
        root_text = b64encode(bytes.fromhex(last.root)).decode()
        if (report.checkpoint or "").split("\n")[:3] != [last.origin, str(last.size), root_text]:
            yield "checkpoint: not that of the last archive"


def _equal(one: float, other: float) -> bool:
    return isclose(one, other, rel_tol=ROUNDED, abs_tol=1e-12)
