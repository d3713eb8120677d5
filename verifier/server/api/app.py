"""The verification server's HTTP side: the API, version 1, the dashboard that is made of it, and what monitors ask."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import select
from starlette.requests import Request
from starlette.types import ASGIApp

from sampler.errors import printable
from verifier.server.api import figures, queries
from verifier.server.api.authorization import Authorized
from verifier.server.api.models import (
    Acknowledgement,
    Archive,
    Archives,
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
from verifier.server.api.pages import pages
from verifier.server.api.records import record_view
from verifier.server.api.status import status_of
from verifier.server.deliveries import announce
from verifier.server.errors import VerdictsUnusable
from verifier.server.incidents import AlreadyAcknowledged, Changed, NoSuchIncident, acknowledge
from verifier.server.metrics import Metrics
from verifier.server.opening import Opened
from verifier.server.schema import ARCHIVE

MOST = 2**53 - 1
Number = Annotated[int, Path(ge=0, le=MOST, description="Its number.")]
Before = Annotated[int | None, Query(ge=0, le=MOST, description="Only what has a smaller number: the next page.")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many, at most.")]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No valid API key was given."},
    503: {"model": Problem, "description": "The database cannot be used now."},
}


def _problem(status: int, words: str) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": words}}


def application(server: Opened, metrics: Metrics, ready: Callable[[], str | None]) -> ASGIApp:
    """The HTTP side of a server.

    Args:
        ready: says why the server cannot do its work now, or None.
    """
    app = FastAPI(
        title="weightwarden verification server",
        version="1",
        description="Verdicts of audited answers, their rates and bounds, and incidents. Times are seconds since 1970.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_api(server))

    @app.exception_handler(VerdictsUnusable)
    async def unusable(_: Request, error: Exception) -> JSONResponse:
        server.events.say("database failed", why=str(error))
        return JSONResponse({"detail": "the database cannot be used now"}, 503)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:
        server.events.defect(error)
        return JSONResponse({"detail": "internal error"}, 500)

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", include_in_schema=False)
    def is_ready() -> JSONResponse:
        why = ready()
        return JSONResponse({"status": "ok" if why is None else why}, 200 if why is None else 503)

    @app.get("/metrics", include_in_schema=False)
    def prometheus() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    for path, page in pages().items():
        app.add_route(path, page, include_in_schema=False)
    return Authorized(app, server.api_keys)


def _api(server: Opened) -> APIRouter:
    router = APIRouter(prefix="/api/v1", responses=_PROBLEMS)
    reading = server.database.reading

    @router.get("/status", summary="The state at a glance")
    def status() -> Status:
        with reading() as connection:
            return status_of(server, connection)

    @router.get("/archives", summary="Archives, the newest first")
    def archives(
        state: Literal["found", "quarantined", "auditing", "audited"] | None = None,
        before: Before = None,
        limit: Limit = 50,
    ) -> Archives:
        with reading() as connection:
            page = queries.archive_page(connection, state, before, limit)
        return Archives(archives=page, next=page[-1].id if len(page) == limit else None)

    @router.get("/archives/{archive}", summary="One archive", responses=_problem(404, "There is none of this number."))
    def archive(archive: Number) -> Archive:
        with reading() as connection:
            rows = connection.execute(select(ARCHIVE).where(ARCHIVE.c.id == archive)).mappings().all()
            if not rows:
                raise HTTPException(404, f"there is no archive {archive}")
            return queries.archives_of(connection, rows)[0]

    @router.get("/quarantine", summary="What is in quarantine, and what was")
    def quarantine() -> Quarantines:
        with reading() as connection:
            return Quarantines(quarantined=queries.quarantined(connection))

    @router.get("/verdicts", summary="Verdicts of audited records, the newest first")
    def verdicts(
        flagged: bool = False,
        archive: Annotated[int | None, Query(ge=0, le=MOST)] = None,
        before: Before = None,
        limit: Limit = 50,
    ) -> Verdicts:
        with reading() as connection:
            page = queries.verdict_page(connection, flagged=flagged, archive=archive, before=before, limit=limit)
        return Verdicts(verdicts=page, next=page[-1].position if len(page) == limit else None)

    @router.get(
        "/records/{position}",
        summary="One audited record, with its tokens where evidence is kept",
        responses=_problem(404, "No record has this position, or it has no verdict yet."),
    )
    def record(position: Number) -> RecordView:
        with reading() as connection:
            view = record_view(server, connection, position)
        if view is None:
            raise HTTPException(404, f"there is no verdict at position {position}")
        return view

    @router.get("/rates", summary="The watched rates over time, with confidence sequences")
    def rates(
        days: Annotated[float, Query(gt=0, le=3660)] = 30.0, points: Annotated[int, Query(ge=2, le=1000)] = 300
    ) -> Rates:
        with reading() as connection:
            return figures.rates(server, connection, days, points)

    @router.get("/bounds", summary="The bandwidth ledger by channel")
    def bounds() -> Bounds:
        with reading() as connection:
            return figures.bounds(server, connection)

    @router.get("/margins", summary="The margin distribution beside the calibrated one")
    def margins() -> Margins:
        with reading() as connection:
            return figures.margins(server, connection)

    @router.get("/alarms", summary="Incidents, the newest first")
    def alarms() -> Incidents:
        with reading() as connection:
            return Incidents(incidents=queries.incidents(connection))

    @router.post(
        "/alarms/{incident}/acknowledge",
        summary="Acknowledge an incident, with a reason that is kept",
        responses=_problem(403, "A request of another site's page.")
        | _problem(404, "There is none of this number.")
        | _problem(409, "It was acknowledged before."),
    )
    def acknowledged(incident: Number, said: Acknowledgement) -> Incident:
        now = server.clock()
        try:
            with server.database.writing() as connection:
                row = acknowledge(connection, incident, printable(said.by), printable(said.reason), now)
                if row["kind"] == "monitor":
                    server.bookkeeper.restart_monitor(connection)
                announce(connection, Changed("acknowledged", incident), server.watch.channels, now)
        except NoSuchIncident:
            raise HTTPException(404, f"there is no incident {incident}") from None
        except AlreadyAcknowledged as error:
            raise HTTPException(409, str(error)) from None
        server.events.say("acknowledged", incident=incident)
        return queries.incident_of(row)

    return router
