"""HTTP application of a server of several models: their states in one place, and the API of each below its path."""

from collections.abc import Callable, Iterator
from typing import cast

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry, Metric
from starlette.requests import Request
from starlette.types import ASGIApp

from weightwarden.verifier.server.alerting.incidents import STATES
from weightwarden.verifier.server.api.app import answer_errors, monitor_endpoints, series_api
from weightwarden.verifier.server.api.authorization import Authorized, is_operator
from weightwarden.verifier.server.api.metrics import PROCESS_METRICS, Metrics, resident_metric
from weightwarden.verifier.server.api.models import FleetStatus, ModelStatus, Problem
from weightwarden.verifier.server.api.pages import pages
from weightwarden.verifier.server.api.request_bodies import WithBody
from weightwarden.verifier.server.api.status import status_of
from weightwarden.verifier.server.errors import VerdictsUnusable
from weightwarden.verifier.server.fleet import Fleet
from weightwarden.verifier.server.startup import ServerParts

MODELS = "/models"
"""Path below which each model has its dashboard and its API."""
router = APIRouter(prefix="/api/v1", responses={401: {"model": Problem, "description": "No valid API key was given."}})


@router.get("/models", summary="The models, and the state of each")
def models(request: Request) -> FleetStatus:
    """The models, and the state of each."""
    fleet = cast(Fleet, request.app.state.fleet)
    found = [_status(fleet, model, operator=is_operator(request.scope)) for model in fleet.servers]
    states = [one.status.state for one in found if one.status is not None]
    return FleetStatus(
        state=max(states, key=STATES.index) if len(states) == len(found) else None,
        resident_limit=fleet.turns.residents.limit,
        models=found,
    )


def _status(fleet: Fleet, model: str, *, operator: bool) -> ModelStatus:
    server = fleet.servers[model]
    try:
        with server.database.reading() as connection:
            status = status_of(server, connection, operator=operator)
    except VerdictsUnusable as error:
        server.events.say("database failed", why=str(error))
        return ModelStatus(model=model, resident=fleet.turns.holds(model), status=None)
    return ModelStatus(model=model, resident=fleet.turns.holds(model), status=status)


def fleet_application(fleet: Fleet, ready: Callable[[], str | None]) -> ASGIApp:
    """The HTTP application of a server of several models.

    Args:
        ready: returns the reason why the server cannot work now, or None.
    """
    app = FastAPI(
        title="weightwarden verification server of several models",
        version="1",
        description=f"The models, and below {MODELS}/NAME the API of each. Times are seconds since 1970.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.fleet = fleet
    app.include_router(router)
    answer_errors(app, fleet.events)
    monitor_endpoints(app, FleetMetrics(fleet).registry, ready)
    for path, page in pages(index="fleet.html").items():
        app.add_route(path, page, include_in_schema=False)
    for model, server in fleet.servers.items():
        app.mount(f"{MODELS}/{model}", series_api(server))
    any_server: ServerParts = next(iter(fleet.servers.values()))
    return Authorized(WithBody(app), any_server.api_keys, any_server.read_keys)


class FleetMetrics:
    """The metrics of all models, each with the label `model`, and those of the process."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._of_models = {model: Metrics(server) for model, server in fleet.servers.items()}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The present metrics, those of one name together."""
        merged: dict[str, Metric] = {}
        for model, metrics in self._of_models.items():
            for metric in metrics.collect():
                if metric.name in PROCESS_METRICS:
                    merged.setdefault(metric.name, metric)
                    continue
                whole = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                whole.samples += [one._replace(labels={"model": model, **one.labels}) for one in metric.samples]
        yield from merged.values()
        yield resident_metric({model: self._fleet.turns.holds(model) for model in self._of_models})
