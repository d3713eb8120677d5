"""HTTP interface of the sidecar: few, strictly parsed paths. Others are refused, since they could not be logged."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.serving.http_body import BodyRefused, read_body
from weightwarden.logger.sidecar.bodies import Bodies
from weightwarden.logger.sidecar.errors import ApiError, stopping
from weightwarden.logger.sidecar.ignored_fields import IgnoredFields
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.log.request_ids import HEADER, RequestIds
from weightwarden.logger.sidecar.service import Response, Service
from weightwarden.logger.sidecar.wire.messages_api.form import count_body
from weightwarden.logger.sidecar.wire.requests import GenerationRequest

_JSON = (b"content-type", b"application/json")
Work = Callable[[bytes, Response], Coroutine[Any, Any, None]]
"""Answering of a request's body."""
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Objects that the endpoints share.

    Attributes:
        service: answers generation requests.
        interpreter: turns requests into token ids and sampling parameters.
        keys: API keys of clients, or None when every client is served.
        request_ids: issuer of request ids.
        events: the operator's log.
        ignored_fields: report of unknown fields, which have no effect; None: requests with any are refused.
        ready: returns the reason why no request can be served now, or None.
        created: Unix time of the start, seconds.
    """

    service: Service
    interpreter: RequestInterpreter
    keys: ApiKeys | None
    request_ids: RequestIds
    events: Events
    ignored_fields: IgnoredFields | None
    ready: Callable[[], str | None]
    created: int


def application(front: Dependencies) -> ASGIApp:
    """The sidecar as an ASGI application."""

    async def models(request: HttpRequest) -> JSONResponse:
        _authorize(front.keys, request.scope)
        model = front.interpreter.model
        card = {
            "id": model.name,
            "object": "model",
            "created": front.created,
            "owned_by": "weightwarden",
            "max_model_len": model.context_length,
        }
        return JSONResponse({"object": "list", "data": [card]})

    async def health(_: HttpRequest) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ready(_: HttpRequest) -> JSONResponse:
        why = front.ready()
        return JSONResponse({"status": "ok" if why is None else why}, status_code=200 if why is None else 503)

    bodies = Bodies(front.interpreter, front.ignored_fields)

    def generating(understand: Callable[[bytes], Awaitable[GenerationRequest]]) -> Work:
        async def generate(body: bytes, response: Response) -> None:
            await front.service.respond(await understand(body), response)

        return generate

    async def count(body: bytes, response: Response) -> None:
        tokens = await bodies.message_tokens(body)
        await front.service.next_tick()
        response.begun, response.status = True, 200
        await response.write_body(200, json.dumps(count_body(tokens)).encode())

    answering = {
        "/v1/chat/completions": _Answering(front, "chat", generating(bodies.chat)),
        "/v1/completions": _Answering(front, "completions", generating(bodies.completion)),
        "/v1/responses": _Answering(front, "responses", generating(bodies.response)),
        "/v1/messages": _Answering(front, "messages", generating(bodies.message)),
        "/v1/messages/count_tokens": _Answering(front, "count_tokens", count),
    }
    others = Starlette(
        routes=[
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in answering.items()),
            Route("/v1/models", models, methods=["GET"]),
            Route("/health", health, methods=["GET"]),
            Route("/ready", ready, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _closed, ApiError: _refused},
    )
    others.router.redirect_slashes = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = answering.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is not None:  # bypasses Starlette's middleware, which would wrap the sending of every token
            await endpoint(scope, receive, send)
        else:
            await front.service.next_tick()  # the response time would reveal how busy the server keeps the sidecar
            await others(scope, receive, send)

    return app


async def _closed(_: HttpRequest, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing here", 405: "not by this method"}
    refused = ApiError(error.status_code, "not_found_error", words.get(error.status_code, "refused"))
    return JSONResponse(refused.body, status_code=refused.status, headers=error.headers)


async def _refused(_: HttpRequest, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, status_code=error.status)


def _authorize(keys: ApiKeys | None, scope: Scope) -> None:
    if keys is not None and not keys.admits(dict(scope["headers"]).get(b"authorization")):
        raise ApiError(401, "authentication_error", "no valid API key was given (Authorization: Bearer ...)")


@dataclass(frozen=True)
class _Answering:
    """An endpoint that reads a body, as a pure ASGI application."""

    front: Dependencies
    name: str
    work: Work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, to the end or until its client is gone."""
        started = time.perf_counter()
        request_id, clients_id = self.front.request_ids.of(scope["headers"])
        response = _response(send, request_id)
        outcome = "answered"
        try:
            _authorize(self.front.keys, scope)
            body = await self._body(scope, receive)
            work = asyncio.ensure_future(self.work(body, response))
            if not await _unless_gone(work, receive):
                outcome = "client gone"
        except ApiError as error:
            outcome = error.kind
            response.status, response.reason = error.status, error.reason
            with suppress(OSError):
                await response.write_body(error.status, json.dumps(error.body).encode())
        except asyncio.CancelledError:
            outcome = "cut off"
            if not response.begun:
                response.status = 503
                await response.write_body(503, json.dumps(stopping().body).encode())
            raise
        except Exception as error:  # a defect: the client gets no details
            outcome = "defect"
            self.front.events.defect(error)
            if not response.begun:
                failed = ApiError(500, "internal_error", "internal error")
                response.status = 500
                await response.write_body(500, json.dumps(failed.body).encode())
        finally:
            self.front.service.metrics.requests.labels(self.name, str(response.status)).inc()
            self.front.events.say(
                "request",
                endpoint=self.name,
                request_id=request_id,
                client_request_id=clients_id,
                records=sorted(response.records),
                status=response.status,
                outcome=outcome,
                reason=response.reason,
                output_tokens=response.output_tokens,
                ms=round(1000 * (time.perf_counter() - started), 1),
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The request's body: JSON, within the size limit, received within the time limit."""
        limits = self.front.service.limits
        kind = dict(scope["headers"]).get(b"content-type", b"application/json")
        if kind.partition(b";")[0].strip().lower() != b"application/json":
            raise ApiError(415, "invalid_request_error", "the body must be application/json")
        try:
            return await read_body(receive, most=limits.body_bytes, seconds=limits.receive)
        except BodyRefused as error:
            raise ApiError(error.status, "invalid_request_error", str(error)) from None


async def _unless_gone(work: "asyncio.Future[None]", receive: Receive) -> bool:
    """True when the work is done, False when the client disconnects first; the work is then cancelled."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return True
        return False
    finally:
        gone.cancel()
        work.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await work


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _response(send: Send, request_id: str) -> Response:
    begun = False
    header = (HEADER, request_id.encode())

    async def write_body(status: int, body: bytes) -> None:
        headers = [_JSON, (b"content-length", b"%d" % len(body)), header]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def write_event(data: bytes) -> None:
        nonlocal begun
        if not begun:
            begun = True
            await send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, header]})
        await send({"type": "http.response.body", "body": data, "more_body": True})

    async def close() -> None:
        await send({"type": "http.response.body", "body": b""})

    return Response(request_id, write_body, write_event, close)
