"""The endpoints of the API, version 1."""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from sqlalchemy import select
from starlette.requests import Request

from weightwarden.text import escaped
from weightwarden.verifier.server.alerting.incidents import AlreadyAcknowledged, Changed, NoSuchIncident, acknowledge
from weightwarden.verifier.server.api import figures, queries
from weightwarden.verifier.server.api.authorization import is_operator
from weightwarden.verifier.server.api.models import (
    Acknowledgement,
    Archive,
    Archives,
    ArchiveState,
    Bounds,
    Incident,
    Incidents,
    Margins,
    Problem,
    Quarantines,
    Rates,
    RecordView,
    Status,
    Verdicts,
)
from weightwarden.verifier.server.api.records import record_view
from weightwarden.verifier.server.api.status import status_of
from weightwarden.verifier.server.database.schema import ARCHIVE
from weightwarden.verifier.server.startup import ServerParts

MAX_INTEGER = 2**53 - 1
Number = Annotated[int, Path(ge=0, le=MAX_INTEGER, description="Its number.")]
Before = Annotated[
    int | None, Query(ge=0, le=MAX_INTEGER, description="Only what has a smaller number: the next page.")
]
Limit = Annotated[int, Query(ge=1, le=500, description="How many, at most.")]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No valid API key was given."},
    503: {"model": Problem, "description": "The database cannot be used now."},
}


def _server(request: Request) -> ServerParts:
    return cast(ServerParts, request.app.state.server)


Served = Annotated[ServerParts, Depends(_server)]


def _problem(status: int, words: str) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": words}}


router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)


@router.get("/status", summary="The state at a glance")
def status(server: Served, request: Request) -> Status:
    """The state at a glance."""
    with server.database.reading() as connection:
        return status_of(server, connection, operator=is_operator(request.scope))


@router.get("/archives", summary="Archives, the newest first")
def archives(
    server: Served,
    state: ArchiveState | None = None,
    before: Before = None,
    limit: Limit = 50,
) -> Archives:
    """A page of archives."""
    with server.database.reading() as connection:
        page = queries.archive_page(connection, state, before, limit)
    return Archives(archives=page, next=page[-1].id if len(page) == limit else None)


@router.get("/archives/{archive}", summary="One archive", responses=_problem(404, "There is none of this number."))
def archive(server: Served, archive: Number) -> Archive:
    """One archive."""
    with server.database.reading() as connection:
        rows = connection.execute(select(ARCHIVE).where(ARCHIVE.c.id == archive)).mappings().all()
        if not rows:
            raise HTTPException(404, f"there is no archive {archive}")
        return queries.archives_of(connection, rows)[0]


@router.get("/quarantine", summary="What is in quarantine, and what was")
def quarantine(server: Served) -> Quarantines:
    """Present and past entries of the quarantine."""
    with server.database.reading() as connection:
        return Quarantines(quarantined=queries.quarantined(connection))


@router.get("/verdicts", summary="Verdicts of audited records, the newest first")
def verdicts(
    server: Served,
    flagged: bool = False,
    unverifiable: bool = False,
    archive: Annotated[int | None, Query(ge=0, le=MAX_INTEGER)] = None,
    before: Before = None,
    limit: Limit = 50,
) -> Verdicts:
    """A page of verdicts."""
    with server.database.reading() as connection:
        page = queries.verdict_page(
            connection,
            flagged=flagged,
            unverifiable=unverifiable,
            archive=archive,
            before=before,
            limit=limit,
            with_text=server.settings.show_text,
        )
    return Verdicts(verdicts=page, next=page[-1].position if len(page) == limit else None)


@router.get(
    "/records/{position}",
    summary="One audited record, with its tokens where evidence is kept",
    responses=_problem(404, "No record has this position, or it has no verdict: not yet, or no longer."),
)
def record(server: Served, position: Number) -> RecordView:
    """One audited record."""
    with server.database.reading() as connection:
        view = record_view(server, connection, position)
    if view is None:
        raise HTTPException(404, f"there is no verdict at position {position}")
    return view


@router.get("/rates", summary="The watched rates over time, with confidence sequences")
def rates(
    server: Served,
    days: Annotated[float, Query(gt=0, le=3660)] = 30.0,
    points: Annotated[int, Query(ge=2, le=1000)] = 300,
) -> Rates:
    """The watched rates over time."""
    with server.database.reading() as connection:
        return figures.rates(server, connection, days, points)


@router.get("/bounds", summary="The bandwidth ledger by channel")
def bounds(server: Served) -> Bounds:
    """The bandwidth ledger."""
    with server.database.reading() as connection:
        return figures.bounds(server, connection)


@router.get("/margins", summary="The margin distribution beside the calibrated one")
def margins(server: Served) -> Margins:
    """The margin distribution."""
    with server.database.reading() as connection:
        return figures.margins(server, connection)


@router.get("/alarms", summary="Incidents, the newest first")
def alarms(server: Served) -> Incidents:
    """Incidents."""
    with server.database.reading() as connection:
        return Incidents(incidents=queries.incidents(connection))


@router.post(
    "/alarms/{incident}/acknowledge",
    summary="Acknowledge an incident, with a reason that is kept",
    responses=_problem(403, "A key that may only look, or a request of another site's page.")
    | _problem(404, "There is none of this number.")
    | _problem(400, "The body cannot be read.")
    | _problem(408, "The body did not come in time.")
    | _problem(413, "The body is too large.")
    | _problem(409, "It was acknowledged before."),
)
def acknowledged(server: Served, incident: Number, said: Acknowledgement) -> Incident:
    """Store an operator's acknowledgement of an incident. The evidence of an acknowledged alarm restarts."""
    now = server.clock()
    try:
        with server.database.writing() as connection:
            row = acknowledge(connection, incident, escaped(said.by), escaped(said.reason, lines=True), now)
            if row["kind"] == "monitor" and row["level"] == "alarm":
                server.bookkeeper.restart_monitor(connection, row["subject"])
            server.watch.announce(connection, [Changed("acknowledged", incident)], now)
    except NoSuchIncident:
        raise HTTPException(404, f"there is no incident {incident}") from None
    except AlreadyAcknowledged as error:
        raise HTTPException(409, str(error)) from None
    server.events.say("acknowledged", incident=incident)
    return queries.incident_of(row)
