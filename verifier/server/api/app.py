"""HTTP application of the verification server: the API, the dashboard, and the endpoints for monitoring."""

from collections.abc import Callable
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.types import ASGIApp

from weightwarden.logger.serving.event_log import Events
from weightwarden.text import printable
from weightwarden.verifier.server.api.authorization import Authorized
from weightwarden.verifier.server.api.metrics import Metrics
from weightwarden.verifier.server.api.pages import pages
from weightwarden.verifier.server.api.request_bodies import WithBody
from weightwarden.verifier.server.api.routes import router
from weightwarden.verifier.server.errors import VerdictsUnusable
from weightwarden.verifier.server.startup import ServerParts


def _api() -> FastAPI:
    app = FastAPI(
        title="weightwarden verification server",
        version="1",
        description="Verdicts of audited answers, their rates and bounds, and incidents. Times are seconds since 1970.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(router)
    return app


def description() -> dict[str, Any]:
    """The OpenAPI description of the API."""
    return _api().openapi()


def series_api(server: ServerParts) -> FastAPI:
    """The API and the dashboard of one series."""
    app = _api()
    app.state.server = server
    answer_errors(app, server.events)
    for path, page in pages().items():
        app.add_route(path, page, include_in_schema=False)
    return app


def answer_errors(app: FastAPI, events: Events) -> None:
    """Answer with a JSON object where a request or the database fails."""

    @app.exception_handler(VerdictsUnusable)
    async def unusable(_: Request, error: Exception) -> JSONResponse:
        events.say("database failed", why=str(error))
        return JSONResponse({"detail": "the database cannot be used now"}, 503)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> JSONResponse:
        """Errors of each field, without the values sent, which may not be valid text or numbers of JSON."""
        wrong = cast(RequestValidationError, error).errors()
        detail = [
            {
                "loc": [part if isinstance(part, int) else printable(str(part)) for part in one["loc"]],
                "msg": printable(str(one["msg"])),
                "type": str(one["type"]),
            }
            for one in wrong
        ]
        return JSONResponse({"detail": detail}, 422)

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> JSONResponse:
        events.defect(error)
        return JSONResponse({"detail": "internal error"}, 500)


def monitor_endpoints(app: FastAPI, registry: CollectorRegistry, ready: Callable[[], str | None]) -> None:
    """Add the endpoints for monitoring: /health, /ready and /metrics.

    Args:
        ready: returns the reason why the server cannot work now, or None.
    """

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", include_in_schema=False)
    def is_ready() -> JSONResponse:
        why = ready()
        return JSONResponse({"status": "ok" if why is None else why}, 200 if why is None else 503)

    @app.get("/metrics", include_in_schema=False)
    def prometheus() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def application(server: ServerParts, metrics: Metrics, ready: Callable[[], str | None]) -> ASGIApp:
    """The HTTP application of a server of one model.

    Args:
        ready: returns the reason why the server cannot work now, or None.
    """
    app = series_api(server)
    monitor_endpoints(app, metrics.registry, ready)
    return Authorized(WithBody(app), server.api_keys, server.read_keys)
