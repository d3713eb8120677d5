"""The state at a glance."""

import math
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, func, select

from weightwarden.verifier.server.accounting.accounts import CONFIDENCE, Accounts
from weightwarden.verifier.server.accounting.bounds import Exposure
from weightwarden.verifier.server.accounting.current import parsed_accounts
from weightwarden.verifier.server.accounting.traffic_estimate import traffic_seen
from weightwarden.verifier.server.alerting.conditions import lag
from weightwarden.verifier.server.alerting.incident_kinds import CONCERNS, KINDS, Concern
from weightwarden.verifier.server.alerting.incidents import LEVELS, State, in_force, level_in_force, state_of
from weightwarden.verifier.server.api.egress import egress_of
from weightwarden.verifier.server.api.models import (
    AuditStatus,
    BoundStatus,
    ConclusivenessStatus,
    MonitorStatus,
    SeriesStatus,
    ServerStatus,
    Status,
    TimingStatus,
    TrafficStatus,
)
from weightwarden.verifier.server.api.queries import incident_of
from weightwarden.verifier.server.audit.task_queue import backlog
from weightwarden.verifier.server.database.schema import INCIDENT, QUARANTINE, SERIES, SERVER
from weightwarden.verifier.server.startup import ServerParts

MAX_REASONS = 100
MAX_GONE = 20
"""Number of incidents in force, and of silent servers, that are shown."""


def status_of(server: ServerParts, connection: Connection, *, operator: bool = False) -> Status:
    """The state of a series, all its servers together, for an operator or a reader."""
    now = server.clock()
    settings = server.settings
    series = connection.execute(select(SERIES)).one()
    accounts = parsed_accounts(series.accounts)
    traffic = traffic_seen(connection, now)
    fixed = None if settings.audit_rate is None else settings.least_design
    design = fixed or traffic.design
    forced = connection.execute(select(INCIDENT).where(in_force()).order_by(INCIDENT.c.id.desc())).mappings().all()
    reasons = sorted(
        forced, key=lambda row: (row["acknowledged"] is not None, -LEVELS.index(row["level"]), -_gravity(row))
    )
    waiting, behind_by = backlog(connection), lag(connection, now)
    exposure = server.exposure.of(accounts, traffic)
    found = exposure.estimate
    state = state_of(forced, conclusive=exposure.conclusiveness.conclusive)
    totals = accounts.totals
    servers = _servers(server, connection)
    speeds = [one.tokens_per_second for one in servers if one.alive and one.tokens_per_second is not None]
    return Status(
        model=settings.model,
        state=state,
        concern=concern_of(forced),
        meaning=meaning_of(state, forced, exposure),
        conclusiveness=conclusiveness_of(exposure),
        reasons=[incident_of(row) for row in reasons[:MAX_REASONS]],
        incidents=len(reasons),
        watched_at=series.watched,
        may_acknowledge=operator,
        now=now,
        since=series.since,
        model_digest=series.model_digest,
        policy_digest=series.policy_digest,
        scheme=server.policy.made_for.scheme,
        exact=server.policy.exact,
        shows_text=settings.show_text,
        traffic=TrafficStatus(
            archives=traffic.archives,
            records=traffic.records,
            tokens=traffic.tokens,
            tokens_per_day=settings.tokens_per_day or traffic.tokens_per_day,
            last_archive_at=traffic.last_archive,
        ),
        audit=AuditStatus(
            compute_share=settings.compute_share if settings.audit_rate is None else None,
            rate=None if design is None else design.rate,
            by=settings.audit_by if design is None else design.by,
            audited_records=int(totals["records"]),
            audited_tokens=int(totals["tokens"]),
            selected_share=traffic.selected_tokens / traffic.tokens if traffic.tokens else None,
            audited_share=totals["tokens"] / traffic.tokens if traffic.tokens else None,
            flagged=int(totals["flagged"]),
            outside_grammar=int(totals["outside_grammar"]),
            unverifiable=int(totals["unverifiable"]),
            backlog_records=waiting.records,
            backlog_tokens=waiting.tokens,
            lag_seconds=behind_by,
            max_lag_seconds=settings.max_lag,
            behind=behind_by is not None and behind_by > settings.max_lag,
            tokens_per_second=sum(speeds) if speeds else None,
            servers=servers,
        ),
        quarantined=connection.execute(
            select(func.count()).select_from(QUARANTINE).where(QUARANTINE.c.resolved.is_(None))
        ).scalar_one(),
        egress=egress_of(connection, settings, now),
        monitor=MonitorStatus(
            p_value=accounts.monitor.p_value,
            alarm_level=settings.alarm_level,
            log10_capital=accounts.monitor.log_capital / math.log(10),
        ),
        bounds=BoundStatus(
            confidence=CONFIDENCE,
            open_channels=[] if found is None else [term.name for term in found.terms if not term.counted],
            series=_series(accounts, exposure),
            timing=timing_of(exposure),
            bits_per_day=None if found is None else found.bits_per_day,
            days_to_exfiltrate=days_to_exfiltrate(exposure),
            weights_bytes=settings.weights_bytes,
        ),
    )


def concern_of(forced: Sequence[RowMapping]) -> Concern | None:
    """The gravest concern of the gravest incidents in force; None without any."""
    return max((KINDS[row["kind"]].concern for row in _gravest(forced)), key=CONCERNS.index, default=None)


def meaning_of(state: State, forced: Sequence[RowMapping], exposure: Exposure) -> str:
    """The state in a sentence: what the gravest incidents in force are, or what the audit says without any."""
    if state == "clear":
        return "No evidence against the inference server in what was audited, and the audit is conclusive."
    if state == "inconclusive":
        return f"Too little was audited for a verdict: {exposure.conclusiveness.needs}."
    titles = dict.fromkeys(KINDS[row["kind"]].title for row in sorted(_gravest(forced), key=lambda row: -_gravity(row)))
    return f"{'; '.join(titles)}."


def _gravest(forced: Sequence[RowMapping]) -> list[RowMapping]:
    """The incidents in force with the gravest level."""
    levels = [LEVELS.index(level_in_force(row)) for row in forced]
    return [row for row, level in zip(forced, levels, strict=True) if level == max(levels)]


def _gravity(incident: RowMapping) -> int:
    """The place of an incident's concern; a larger one is graver."""
    return CONCERNS.index(KINDS[incident["kind"]].concern)


def conclusiveness_of(exposure: Exposure) -> ConclusivenessStatus:
    """The conclusiveness of the audit, for JSON."""
    found = exposure.conclusiveness
    return ConclusivenessStatus(
        conclusive=found.conclusive,
        limit=found.limit,
        wanted=found.wanted,
        tokens_needed=found.about_tokens_needed,
        needs=found.needs,
    )


def days_to_exfiltrate(exposure: Exposure) -> float | None:
    """Days until the weights are out, at least; None for never, and while the limits are not conclusive."""
    found = exposure.estimate
    return finite(found.days_to_exfiltrate) if found is not None and exposure.conclusiveness.conclusive else None


def finite(number: float) -> float | None:
    """A number for JSON; None for inf."""
    return number if math.isfinite(number) else None


def timing_of(exposure: Exposure) -> TimingStatus:
    """The timing of all answers, for JSON."""
    found = exposure.timing
    return TimingStatus(
        records=found.records,
        tokens=found.tokens,
        bits=found.bits,
        bits_per_token=found.bits_per_token,
        open_records=found.open_records,
        statement=found.statement,
    )


def _series(accounts: Accounts, exposure: Exposure) -> SeriesStatus | None:
    leading, series = exposure.leading, accounts.limit
    if leading is None or exposure.statement is None:
        return None
    return SeriesStatus(
        since=accounts.limit_since,
        records=series.records,
        tokens=series.tokens,
        audited_records=series.audited_records,
        audited_tokens=series.audited_tokens,
        bits=leading.parts.limit_bits,
        bits_per_token=leading.parts.limit,
        rate=leading.parts.rate,
        stock_bits=leading.parts.stock_bits,
        statement=exposure.statement,
    )


def _servers(server: ServerParts, connection: Connection) -> list[ServerStatus]:
    names = set(server.membership.living(connection))
    newest = connection.execute(select(SERVER).order_by(SERVER.c.seen.desc())).mappings().all()
    living = [row for row in newest if row["name"] in names]
    rows = living + [row for row in newest if row["name"] not in names][:MAX_GONE]
    return [
        ServerStatus(
            name=row["name"],
            seen_at=row["seen"],
            alive=row["name"] in names,
            tokens_per_second=row["tokens_per_second"],
        )
        for row in rows
    ]
