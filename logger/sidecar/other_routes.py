"""Requests that generate nothing: the model, the health, what a path takes, and refusals of all others."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from weightwarden.logger.model.adapter import AdapterFiles
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.cors import Cors
from weightwarden.logger.sidecar.errors import ApiError, error_headers, no_such_model
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.paths import MODELS, nothing_at, plain_path
from weightwarden.logger.sidecar.wire.error_forms import error_body


def authorize(keys: ApiKeys | None, scope: Scope) -> None:
    """Refuse a request without a valid API key, if clients need one.

    Raises:
        ApiError: it has none.
    """
    headers = dict(scope["headers"])
    if keys is not None and not keys.admits(headers.get(b"authorization"), headers.get(b"x-api-key")):
        raise ApiError(
            401, "authentication_error", "no valid API key was given (Authorization: Bearer ..., or x-api-key: ...)"
        )


@dataclass(frozen=True, kw_only=True)
class OtherRoutes:
    """The paths that are read, as an ASGI application. It also answers for all other paths and methods.

    Attributes:
        model: the served model.
        keys: API keys of clients, or None when every client is served.
        cors: origins of web pages that may read answers.
        ready: returns the reason why no request can be served now, or None.
        created: Unix time of the start, seconds.
        generating: the paths of generation requests.
    """

    model: ServedModel
    keys: ApiKeys | None
    cors: Cors
    ready: Callable[[], str | None]
    created: int
    generating: Collection[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = plain_path(scope["path"])
        try:
            response = self._response(path, scope)
        except ApiError as error:
            response = _refused(path, error)
        await response(scope, receive, send)

    def _response(self, path: str, scope: Scope) -> Response:
        reading = {MODELS: self._models, "/health": self._health, "/ready": self._ready}
        model = path.removeprefix(f"{MODELS}/")
        if path in self.generating:
            methods = ["POST"]
        elif path in reading or model != path:
            methods = ["GET", "HEAD"]
        else:
            raise nothing_at(path, [*self.generating, *reading])
        allow = {"allow": ", ".join([*methods, "OPTIONS"])}
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=allow | _text(self.cors.preflight_headers(scope)))
        if scope["method"] not in methods:
            return _refused(path, ApiError(405, "invalid_request_error", f"use {methods[0]} here"), allow)
        if path in reading:
            return reading[path](scope)
        authorize(self.keys, scope)
        try:
            return JSONResponse(self._card(self.model.adapter_of(model)))
        except KeyError:
            raise no_such_model(model, self.model.name) from None

    def _models(self, scope: Scope) -> Response:
        authorize(self.keys, scope)
        return JSONResponse(
            {"object": "list", "data": [self._card(one) for one in (None, *self.model.adapters.values())]}
        )

    def _card(self, adapter: AdapterFiles | None) -> dict[str, object]:
        """The card of the model, or of an adapter on it, in vLLM's form."""
        card: dict[str, object] = {
            "id": self.model.name if adapter is None else adapter.name,
            "object": "model",
            "created": self.created,
            "owned_by": "weightwarden",
            "max_model_len": self.model.context_length,
        }
        return card if adapter is None else card | {"parent": self.model.name}

    def _health(self, _: Scope) -> Response:
        return JSONResponse({"status": "ok"})

    def _ready(self, _: Scope) -> Response:
        why = self.ready()
        if why is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": why}, 503, _text(error_headers(503)))


def _refused(path: str, error: ApiError, more: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(error_body(path, error), error.status, {**_text(error_headers(error.status)), **(more or {})})


def _text(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
