"""Rows of the verdict database as the API's models. Every query uses an index, for any number of verdicts."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, func, select

from weightwarden.verifier.server.alerting.incident_kinds import KINDS, links_of
from weightwarden.verifier.server.alerting.incidents import in_force
from weightwarden.verifier.server.api.models import Archive, Incident, IncidentLinks, Quarantine, Verdict
from weightwarden.verifier.server.audit.verdict_rows import reasons_of
from weightwarden.verifier.server.database.schema import ARCHIVE, INCIDENT, QUARANTINE, TASK, VERDICT
from weightwarden.verifier.server.database.verdict_database import mapping

MAX_INCIDENTS = 500
MAX_QUARANTINED = 1000
"""Number of ended incidents, and of open and of resolved quarantine entries, that are shown: the newest."""


def incidents(connection: Connection) -> list[Incident]:
    """All incidents in force, and the newest of the others; the newest first."""
    forced = connection.execute(select(INCIDENT).where(in_force())).mappings().all()
    newest = connection.execute(select(INCIDENT).order_by(INCIDENT.c.id.desc()).limit(MAX_INCIDENTS)).mappings().all()
    rows = {row["id"]: row for row in (*forced, *newest)}
    return [incident_of(rows[number]) for number in sorted(rows, reverse=True)]


def incident_of(row: RowMapping) -> Incident:
    """An incident's row."""
    kind = KINDS[row["kind"]]
    return Incident(
        id=row["id"],
        kind=row["kind"],
        title=kind.title,
        concern=kind.concern,
        explanation=kind.explanation,
        level=row["level"],
        what=row["what"],
        links=IncidentLinks(**links_of(row["kind"], row["id"])),
        opened_at=row["opened"],
        lasting=row["ended"] is None,
        ended_at=row["ended"],
        acknowledged_at=row["acknowledged"],
        acknowledged_by=row["acknowledged_by"],
        reason=row["reason"],
    )


def quarantined(connection: Connection) -> list[Quarantine]:
    """Present entries of the quarantine, the newest first, and then past ones."""
    resolved = QUARANTINE.c.resolved
    now = connection.execute(
        select(QUARANTINE).where(resolved.is_(None)).order_by(QUARANTINE.c.id.desc()).limit(MAX_QUARANTINED)
    ).mappings()
    before = connection.execute(
        select(QUARANTINE).where(resolved.is_not(None)).order_by(resolved.desc()).limit(MAX_QUARANTINED)
    ).mappings()
    return [quarantine_of(row) for row in (*now, *before)]


def quarantine_of(row: RowMapping) -> Quarantine:
    """A quarantine entry's row."""
    return Quarantine(
        id=row["id"],
        kind=row["kind"],
        where=row["place"],
        what=row["what"],
        archive=row["archive"],
        start=row["start"],
        end=row["end"],
        since=row["since"],
        resolved_at=row["resolved"],
    )


def archives_of(connection: Connection, rows: Sequence[RowMapping]) -> list[Archive]:
    """Archives' rows, with the waiting records of each and the reason of its quarantine."""
    numbers = [row["id"] for row in rows]
    waiting: dict[int, int] = mapping(
        connection, select(TASK.c.archive, func.count()).where(TASK.c.archive.in_(numbers)).group_by(TASK.c.archive)
    )
    held = {
        row["archive"]: quarantine_of(row)
        for row in connection.execute(
            select(QUARANTINE).where(QUARANTINE.c.archive.in_(numbers), QUARANTINE.c.resolved.is_(None))
        ).mappings()
    }
    return [
        Archive(
            id=row["id"],
            url=row["url"],
            state=row["state"],
            found_at=row["found"],
            checked_at=row["checked"],
            audited_at=row["audited"],
            origin=row["origin"],
            start=row["start"],
            end=row["end"],
            root=None if row["root"] is None else row["root"].hex(),
            records=row["records"],
            tokens=row["tokens"],
            audit_rate=row["audit_rate"],
            audit_by=row["audit_by"],
            selected=row["selected"],
            selected_tokens=row["selected_tokens"],
            paced_records=row["paced_records"],
            timing_bits=row["timing_bits"],
            remaining=None if row["checked"] is None else waiting.get(row["id"], 0),
            quarantine=held.get(row["id"]),
        )
        for row in rows
    ]


def archive_page(connection: Connection, state: str | None, before: int | None, limit: int) -> list[Archive]:
    """Archives, the newest first."""
    query = select(ARCHIVE).order_by(ARCHIVE.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(ARCHIVE.c.state == state)
    if before is not None:
        query = query.where(ARCHIVE.c.id < before)
    return archives_of(connection, connection.execute(query).mappings().all())


def verdict_page(
    connection: Connection,
    *,
    flagged: bool,
    unverifiable: bool,
    archive: int | None,
    before: int | None,
    limit: int,
    with_text: bool,
) -> list[Verdict]:
    """Verdicts, the newest first; only flagged ones if `flagged`, only unverifiable ones if `unverifiable`."""
    query = select(VERDICT).order_by(VERDICT.c.position.desc()).limit(limit)
    if flagged:
        query = query.where(VERDICT.c.flagged)
    if unverifiable:
        query = query.where(VERDICT.c.unverifiable)
    if archive is not None:
        query = query.where(VERDICT.c.archive == archive)
    if before is not None:
        query = query.where(VERDICT.c.position < before)
    return [verdict_of(row, with_text=with_text) for row in connection.execute(query).mappings()]


def verdict_of(row: RowMapping, *, with_text: bool) -> Verdict:
    """A verdict's row. Its reasons quote the record if `with_text`."""
    return Verdict(
        position=row["position"],
        archive=row["archive"],
        index=row["index"],
        at=row["at"],
        tokens=row["tokens"],
        mismatches=row["mismatches"],
        suspicious=row["suspicious"],
        dangerous=row["dangerous"],
        outside_grammar=row["outside_grammar"],
        flagged=row["flagged"],
        unverifiable=row["unverifiable"],
        p_value=row["p_value"],
        reasons=reasons_of(row["reasons"], with_text=with_text),
        counting_bits=row["counting_bits"],
        pooled_bits=row["pooled_bits"],
        end_bits=row["end_bits"],
        early_stop=row["early_stop"],
        largest_margin=row["largest_margin"],
        evidence=row["evidence"],
    )
