"""The command `verify monitor`: one alarm for a series of audits, valid at every look."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.monitor_limit import (
    CONFIDENCE,
    LENGTH_LIMIT,
    AuditedRecords,
    limit_result,
    limit_statement,
)
from weightwarden.cli.commands.monitor_state import AuditSeries, read_state, write_state
from weightwarden.cli.options.quantities import FiniteRange
from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.run_input import sample_of
from weightwarden.cli.options.shared import ReplayOptions, public_key_option, replay_options, sample_options
from weightwarden.cli.reports.reading import read_report
from weightwarden.cli.verify_and_report import verify_with_progress
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.files.output import check_writable
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.audit_selection import AuditDraw, NothingSelected
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.record_evidence import bound_text
from weightwarden.verifier.scoring.release_ledger import ReleaseTable
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.rounding import upper_fixed
from weightwarden.verifier.statistics.sampling_design import AuditBy
from weightwarden.verifier.verification.compatibility import check_against_model, check_against_policy
from weightwarden.verifier.verification.run_input import check_whole, from_archives
from weightwarden.verifier.verification.run_verdict import NothingToVerify
from weightwarden.verifier.verification.series_monitor import LOG_RATIO, WATCHED, SeriesMonitor
from weightwarden.verifier.verification.series_statement import series_assumptions
from weightwarden.verifier.verification.series_timing import SeriesTiming
from weightwarden.verifier.verification.verifier import Verifier


class MonitorError(WeightwardenError, ValueError):
    """Audits that form no series: one of another policy, or one given twice."""


@dataclass(frozen=True)
class AuditOutcome:
    """One audit of a series: its name, its digest, the outcome of each audited record, and all records.

    `length_limit` is the largest number of tokens of an answer. `releases` counts the releases of all records.
    """

    name: str
    digest: str
    log2_vocabulary: float
    length_limit: int
    columns: dict[str, FloatArray]
    records: AuditedRecords
    releases: ReleaseTable
    notes: list[str] = field(default_factory=list)


@click.command()
@click.argument("audits", nargs=-1, required=True, metavar="REPORT_OR_ARCHIVE...")
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Policy of the audits. It holds the upper limits for an honest server.",
)
@public_key_option(required=False)
@sample_options
@click.option(
    "--state",
    "state_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that keeps the series between calls; made if missing. Pass each audit once.",
)
@click.option(
    "--alarm-level",
    metavar="PROBABILITY",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=1e-4,
    show_default=True,
    help="Probability that an honest series ever raises an alarm, over any length of time.",
)
@click.option(
    "--max-record-weight",
    type=click.IntRange(1, 2**31),
    default=1024,
    show_default=True,
    metavar="TOKENS",
    help="Largest weight limit of a record, in tokens, when a series begins. Longer records weigh as much. The capital"
    " is the mean over this limit, a quarter of it, and so on down to 16.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@replay_options
@click.pass_context
def monitor(
    ctx: click.Context,
    /,
    audits: tuple[str, ...],
    policy_path: Path,
    public_key_path: Path | None,
    rate: float | None,
    key_path: Path | None,
    audit_by: AuditBy,
    state_path: Path | None,
    alarm_level: float,
    max_record_weight: int,
    as_json: bool,
    **replay: Any,
) -> None:
    """Watch a series of audits, in order of time, and raise an alarm that honest traffic seldom raises.

    The arguments are JSON reports of `verify run`. With --public-key they are archives of a log, which are replayed one
    after the other. The monitor bets that other tokens than the replay's choice are taken more often than an honest
    server takes them, given the candidates of each position, and that more records are flagged. The result of the bets
    is an e-value. Honest traffic raises it to 1 / --alarm-level with at most that probability, at any time, so that
    frequent looks cost nothing.

    Exit code 0: clear. 1: alarm, now or at an earlier audit of the series. 2: error. After an error the state holds the
    audits before it; reports are all read before the first is added.
    """
    sample = sample_of(rate, key_path, audit_by)
    if public_key_path is None and rate is not None:
        raise click.UsageError("--audit-rate requires archives and --public-key: reports are of completed audits")
    check_writable(state_path)
    policy = read_policy(policy_path)
    kept = read_state(state_path) if state_path is not None and state_path.exists() else None
    if kept is not None:
        try:
            kept.monitor.check_made_for(policy)
        except StatisticsError as error:
            raise MonitorError(f"{state_path}: {error}") from None
    outcomes: Iterable[AuditOutcome]
    if public_key_path is None:
        outcomes = _reports(audits, policy, kept.seen if kept is not None else [])
    else:
        outcomes = _archives(ctx, audits, public_key_path, policy, sample, ReplayOptions(**replay))

    rows = []
    for audit in outcomes:
        kept = kept or AuditSeries(
            SeriesMonitor.new(policy, audit.log2_vocabulary, max_record_weight),
            audit.records.new_series(audit.log2_vocabulary, audit.length_limit, max_record_weight),
            SeriesTiming(),
            [],
        )
        if audit.digest in kept.seen:
            raise MonitorError(f"{audit.name}: is in the series already; give each audit once")
        kept.monitor.add(audit.columns)
        kept.limit.add(audit.records.audited, audit.records.bits_r)
        kept.timing = kept.timing.plus(audit.releases)
        kept.seen.append(audit.digest)
        rows.append(_row(audit, kept.monitor, alarm_level))
        if state_path is not None:
            write_state(state_path, kept)
        if not as_json:
            click.echo(_line(rows[-1], header=len(rows) == 1))
    if kept is None:
        raise MonitorError("no audit has a record with a token: nothing was watched")
    alarm = kept.monitor.alarms_at(alarm_level)
    click.echo(_result(kept, rows, alarm_level, alarm, policy.leading_code, as_json=as_json))
    ctx.exit(exit_codes.ALARM if alarm else exit_codes.CLEAR)


def _reports(paths: tuple[str, ...], policy: BasePolicy, seen: Sequence[str]) -> list[AuditOutcome]:
    audits: list[AuditOutcome] = []
    for path in paths:
        report = read_report(Path(path))
        if report.policy_digest != policy.digest():
            raise MonitorError(f"{path}: made under another policy, {report.policy_digest}")
        if report.audit_digest in {*seen, *(audit.digest for audit in audits)}:
            raise MonitorError(f"{path}: is in the series already; give each audit once")
        statistics = report.statistics
        columns = {name: statistics.records.column(name) for name in ("tokens", *WATCHED, LOG_RATIO)}
        no_evidence = report.without_evidence
        for column in columns.values():
            column[no_evidence] = 0.0
        if columns[LOG_RATIO].shape[1:] != (len(policy.likelihood_ratio_bets),):
            raise MonitorError(f"{path}: statistics.records.{LOG_RATIO}: not one value for each bet of the policy")
        notes = [
            *([f"its own verdict: {report.verdict.upper()}"] if report.verdict != "clear" else []),
            *(["unsigned"] if report.unsafe_unsigned else []),
        ]
        audits.append(
            AuditOutcome(
                name=path,
                digest=report.audit_digest,
                log2_vocabulary=statistics.log2_vocabulary,
                length_limit=policy.made_for.max_model_len or LENGTH_LIMIT,
                columns=columns,
                records=AuditedRecords.of_report(report),
                releases=report.timing.table,
                notes=notes,
            )
        )
    return audits


def _archives(
    ctx: click.Context,
    arguments: tuple[str, ...],
    public_key_path: Path,
    policy: BasePolicy,
    audit: AuditDraw | None,
    options: ReplayOptions,
) -> Iterator[AuditOutcome]:
    """The outcome of each archive, replayed in turn. All archives are checked against each other first."""
    keys = PublicKeys.read(public_key_path)
    urls = archive_urls(arguments)
    check_whole(urls, keys)
    replayer = load_replayer(options, policy, exact=policy.exact)
    ctx.call_on_close(replayer.close)
    verifier = Verifier(replayer, policy, policy.made_for.max_model_len)
    for url in urls:
        try:
            given = from_archives([url], keys, None, audit)
            check_against_model(given.boundary, replayer.identity)
            check_against_policy(given.boundary, verifier.policy)
            found = verify_with_progress(verifier, given).verification
        except (NothingSelected, NothingToVerify) as nothing:
            click.echo(f"{url}: {nothing}; the series continues without it", err=True)
            continue
        yield AuditOutcome(
            name=url,
            digest=given.digest,
            log2_vocabulary=float(np.log2(replayer.identity.vocabulary)),
            length_limit=policy.made_for.max_model_len or replayer.identity.context_length or LENGTH_LIMIT,
            columns=found.watched,
            records=AuditedRecords.of_charges(given.audited, found.charges),
            releases=given.releases,
        )


def _row(audit: AuditOutcome, watch: SeriesMonitor, alarm_level: float) -> dict[str, Any]:
    tokens = audit.columns["tokens"].sum()
    return {
        "audit": audit.name,
        "records": len(audit.columns["tokens"]),
        "tokens": int(tokens),
        "notes": audit.notes,
        "flagged": int(audit.columns["flagged"].sum()),
        "per_token": {
            name: float(audit.columns[name].sum() / tokens) if tokens else None for name in WATCHED if name != "flagged"
        },
        "log10_capital": watch.log_capital / math.log(10),
        "alarm": watch.alarms_at(alarm_level),
    }


def _line(row: dict[str, Any], *, header: bool) -> str:
    title = f"{'records':>8} {'tokens':>10} {'mismatch':>9} {'suspicious':>11} {'dangerous':>10} {'bits/token':>11}"
    per_token = row["per_token"]
    shares = [f"{100 * per_token[n]:.3f}%" if per_token[n] is not None else "-" for n in WATCHED[:3]]
    bits = f"{per_token['pooled_bits']:.4f}" if per_token["pooled_bits"] is not None else "-"
    line = f"{row['records']:>8} {row['tokens']:>10} {shares[0]:>9} {shares[1]:>11} {shares[2]:>10} {bits:>11}"
    notes = f" ({', '.join(row['notes'])})" if row["notes"] else ""
    capital = f"{'ALARM ' if row['alarm'] else ''}10^{row['log10_capital']:.1f}"
    return (f"{title}     capital\n" if header else "") + f"{line} {capital:>11}  {row['audit']}{notes}"


def _result(
    series: AuditSeries,
    rows: list[dict[str, Any]],
    alarm_level: float,
    alarm: bool,
    leading: CodeName,
    *,
    as_json: bool,
) -> str:
    watch = series.monitor
    assumes = [
        "The conditional test assumes that an honest server takes no candidate more often than the policy's bound for"
        " its margin, whatever the prompts and filters, except in a share of at most"
        f" {upper_fixed(watch.conditional.contamination, 4)} of its records, which may hold anything; and that no more"
        " of its records are flagged.",
        "The other rates raise no alarm: honest traffic has more of them where prompts and filters leave more tokens"
        " likely than in the calibration. In a rate, a record weighs as its tokens, up to"
        f" {_listed(watch.monitors['mismatches'].weight_limits)} tokens (the evidence is the mean over these limits).",
        "The audited records were chosen unpredictably, and every audit is given once, in the order of time.",
        *series_assumptions(CONFIDENCE, "the audits that were given"),
    ]
    rates = {
        name: {"honest_at_most": rate.honest_rate, "seen": rate.value / rate.tokens if rate.tokens else None}
        for name, rate in watch.monitors.items()
    }
    if as_json:
        result = {
            "verdict": "alarm" if alarm else "clear",
            "alarm_level": alarm_level,
            "p_value": watch.p_value,
            "audits_in_all": len(series.seen),
            "log10_capital": watch.log_capital / math.log(10),
            "log10_conditional_capital": watch.conditional.log_capital / math.log(10),
            "per_token": rates,
            "unlike_calibration": watch.unlike_calibration,
            "limit": limit_result(series.limit, leading),
            "timing": {
                **asdict(series.timing),
                "bits_per_token": series.timing.bits_per_token,
                "statement": series.timing.statement,
            },
            "audits": rows,
            "assumptions": assumes,
        }
        return json.dumps(result, indent=2, allow_nan=False)
    lines = [
        "",
        f"Verdict: {'ALARM' if alarm else 'CLEAR'} (an honest series ever looks so with {bound_text(watch.p_value)})",
        "",
    ]
    lines += [f"  {'a token (flagged: a record)':<32} {'seen':>10} {'honest at most':>16}"]
    for name, rate in rates.items():
        honest = upper_fixed(watch.monitors[name].honest_rate, 5)
        seen = "-" if rate["seen"] is None else f"{rate['seen']:.5f}"
        lines.append(f"  {name.replace('_', ' '):<32} {seen:>10} {honest:>16}")
    conditional = f"10^{watch.conditional.log_capital / math.log(10):.1f}"
    lines.append(f"  {'conditional test, capital':<32} {conditional:>10}")
    if unlike := watch.unlike_calibration:
        lines += [
            "",
            f"  Traffic unlike the calibration's: more {unlike.replace('_', ' ')} than there. Calibrate on what you"
            " serve; its bits are in the limit below.",
        ]
    lines += ["", f"  {limit_statement(series.limit, leading) or 'No answer with a token: nothing is limited.'}"]
    lines += ["", f"  {series.timing.statement}"]
    return "\n".join([*lines, "", *(f"  {said}" for said in assumes)])


def _listed(numbers: Sequence[float]) -> str:
    """Numbers as text: "1024, 256, 64 and 16"."""
    shown = [f"{number:g}" for number in numbers]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
