"""The state at a glance."""

import math
from functools import lru_cache

from sqlalchemy import Connection, func, select

from weightwarden.verifier.server.accounting.accounts import CONFIDENCE, Accounts
from weightwarden.verifier.server.accounting.bounds import Exposure, exposure_of
from weightwarden.verifier.server.accounting.traffic_estimate import TrafficSeen, traffic_seen
from weightwarden.verifier.server.alerting.conditions import lag
from weightwarden.verifier.server.alerting.incidents import LEVELS, in_force, state_of
from weightwarden.verifier.server.api.models import (
    AuditStatus,
    BoundStatus,
    MonitorStatus,
    ServerStatus,
    Status,
    TrafficStatus,
)
from weightwarden.verifier.server.api.queries import incident_of
from weightwarden.verifier.server.audit.task_queue import backlog
from weightwarden.verifier.server.database.schema import INCIDENT, QUARANTINE, SERIES, SERVER
from weightwarden.verifier.server.database.verdict_database import database_now
from weightwarden.verifier.server.startup import ServerParts

MAX_REASONS = 100
MAX_GONE = 20
"""Number of incidents in force, and of silent servers, that are shown."""


@lru_cache(maxsize=4)
def parsed_accounts(data: bytes) -> Accounts:
    """Accounts from their stored form; shared, so that no caller may change them."""
    return Accounts.from_bytes(data)


def current_accounts(connection: Connection) -> Accounts:
    """The accounts now."""
    return parsed_accounts(connection.execute(select(SERIES.c.accounts)).scalar_one())


def current_exposure(server: ServerParts, accounts: Accounts, traffic: TrafficSeen) -> Exposure:
    """The bandwidth ledger now."""
    identity = server.verifier.replayer.identity
    return exposure_of(
        accounts,
        traffic,
        server.settings,
        identity.vocabulary,
        server.settings.max_model_len or identity.context_length or 4096,
        exact=server.policy.exact,
    )


def status_of(server: ServerParts, connection: Connection, *, operator: bool = False) -> Status:
    """The state of a series, all its servers together, for an operator or a reader."""
    now = server.clock()
    settings = server.settings
    series = connection.execute(select(SERIES)).one()
    accounts = parsed_accounts(series.accounts)
    traffic = traffic_seen(connection, now)
    forced = connection.execute(select(INCIDENT).where(in_force()).order_by(INCIDENT.c.id.desc())).mappings().all()
    reasons = sorted(forced, key=lambda row: (row["acknowledged"] is not None, -LEVELS.index(row["level"])))
    waiting, behind_by = backlog(connection), lag(connection, now)
    exposure = current_exposure(server, accounts, traffic)
    found, tightest = exposure.estimate, exposure.tightest
    totals = accounts.totals
    servers = _servers(server, connection)
    speeds = [one.tokens_per_second for one in servers if one.alive and one.tokens_per_second is not None]
    return Status(
        state=state_of(forced),
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
            rate=settings.audit_rate or traffic.rate,
            audited_records=int(totals["records"]),
            audited_tokens=int(totals["tokens"]),
            audited_share=totals["tokens"] / traffic.tokens if traffic.tokens else None,
            flagged=int(totals["flagged"]),
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
        monitor=MonitorStatus(
            p_value=accounts.monitor.p_value,
            alarm_level=settings.alarm_level,
            log10_capital=accounts.monitor.log_capital / math.log(10),
        ),
        bounds=BoundStatus(
            confidence=CONFIDENCE,
            open_channels=[] if found is None else [term.name for term in found.terms if not term.counted],
            bits_per_token=None if tightest is None else tightest.limit,
            bits_per_day=None if found is None else found.bits_per_day,
            days_to_exfiltrate=None if found is None else finite(found.days_to_exfiltrate),
            weights_bytes=settings.weights_bytes,
        ),
    )


def finite(number: float) -> float | None:
    """A number for JSON; None for inf."""
    return number if math.isfinite(number) else None


def _servers(server: ServerParts, connection: Connection) -> list[ServerStatus]:
    now = database_now(connection)
    newest = connection.execute(select(SERVER).order_by(SERVER.c.seen.desc())).mappings().all()
    living = [row for row in newest if row["expires"] > now]
    rows = living + [row for row in newest if row["expires"] <= now][:MAX_GONE]
    return [
        ServerStatus(
            name=row["name"],
            seen_at=row["seen"],
            alive=row["expires"] > now,
            tokens_per_second=row["tokens_per_second"],
        )
        for row in rows
    ]
