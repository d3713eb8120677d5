"""HTTP interface of the sidecar: few, strictly parsed paths. Others are refused, since they could not be logged."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.serving.http_body import BodyRefused, read_body
from weightwarden.logger.serving.limited_protocol import CHUNKS
from weightwarden.logger.sidecar.bodies import Bodies
from weightwarden.logger.sidecar.cache_salts import CacheSalts
from weightwarden.logger.sidecar.cors import Cors
from weightwarden.logger.sidecar.errors import ApiError, error_headers, stopping
from weightwarden.logger.sidecar.gated_protocol import EXTENSION, GateLink
from weightwarden.logger.sidecar.ignored_fields import IgnoredFields
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.log.request_ids import HEADER, RequestIds
from weightwarden.logger.sidecar.other_routes import OtherRoutes, authorize
from weightwarden.logger.sidecar.paths import plain_path
from weightwarden.logger.sidecar.response import Response
from weightwarden.logger.sidecar.service import Service
from weightwarden.logger.sidecar.wire.error_forms import error_body
from weightwarden.logger.sidecar.wire.messages_api.form import count_body
from weightwarden.logger.sidecar.wire.requests import GenerationRequest

_JSON = (b"content-type", b"application/json")
Headers = Sequence[tuple[bytes, bytes]]
Work = Callable[[Headers, bytes, Response], Coroutine[Any, Any, None]]
"""Answering of a request's headers and body."""
_EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Objects that the endpoints share.

    Attributes:
        service: answers generation requests.
        interpreter: turns requests into token ids and sampling parameters.
        keys: API keys of clients, or None when every client is served.
        cache_salts: issuer of the salts of the server's prefix cache.
        cors: origins of web pages that may read answers.
        request_ids: issuer of request ids.
        events: the operator's log.
        ignored_fields: report of unknown fields, which have no effect; None: requests with any are refused.
        ready: returns the reason why no request can be served now, or None.
        created: Unix time of the start, seconds.
    """

    service: Service
    interpreter: RequestInterpreter
    keys: ApiKeys | None
    cache_salts: CacheSalts
    cors: Cors
    request_ids: RequestIds
    events: Events
    ignored_fields: IgnoredFields | None
    ready: Callable[[], str | None]
    created: int


def application(front: Dependencies) -> ASGIApp:
    """The sidecar as an ASGI application."""

    bodies = Bodies(front.interpreter, front.ignored_fields)

    def generating(understand: Callable[[bytes], Awaitable[GenerationRequest]]) -> Work:
        async def generate(headers: Headers, body: bytes, response: Response) -> None:
            asked = replace(await understand(body), cache_salt=front.cache_salts.of(headers))
            await front.service.respond(asked, response)

        return generate

    async def count(_: Headers, body: bytes, response: Response) -> None:
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
    others = OtherRoutes(
        model=front.interpreter.model,
        keys=front.keys,
        cors=front.cors,
        ready=front.ready,
        created=front.created,
        generating=answering.keys(),
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        send = front.cors.sending(scope, send)
        endpoint = answering.get(plain_path(scope["path"])) if scope["method"] == "POST" else None
        if endpoint is not None:
            await endpoint(scope, receive, send)
        else:
            await front.service.next_tick()  # the response time would reveal how busy the server keeps the sidecar
            await others(scope, receive, send)

    return app


@dataclass(frozen=True)
class _Answering:
    """An endpoint that reads a body, as a pure ASGI application."""

    front: Dependencies
    name: str
    work: Work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, to the end or until its client is gone."""
        started = time.perf_counter()
        path = plain_path(scope["path"])
        request_id, clients_id = self.front.request_ids.of(scope["headers"])
        response = _response(send, request_id, path, scope.get("extensions", {}))
        outcome = "answered"
        try:
            authorize(self.front.keys, scope)
            body = await self._body(scope, receive)
            work = asyncio.ensure_future(self.work(scope["headers"], body, response))
            if not await _unless_gone(work, receive, response):
                outcome = "client gone"
        except ApiError as error:
            outcome = error.kind
            response.status, response.reason = error.status, error.reason
            if not response.handed_over:
                await self.front.service.next_tick()  # also what is refused before the service is asked
                with suppress(OSError):
                    await response.write_error(error)
        except asyncio.CancelledError:
            outcome = "cut off"
            if not response.begun:
                response.status = 503
                await response.write_error(stopping())
            raise
        except Exception as error:  # a defect: the client gets no details
            outcome = "defect"
            self.front.events.defect(error)
            if not response.begun:
                failed = ApiError(500, "internal_error", "internal error")
                response.status = 500
                await response.write_error(failed)
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
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"application/json")
        if kind.partition(b";")[0].strip().lower() != b"application/json":
            raise ApiError(415, "invalid_request_error", "the body must be application/json")
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise ApiError(415, "invalid_request_error", "the body must be sent without a content-encoding")
        try:
            return await read_body(receive, most=limits.body_bytes, seconds=limits.receive)
        except BodyRefused as error:
            raise ApiError(error.status, "invalid_request_error", str(error)) from None


async def _unless_gone(work: "asyncio.Future[None]", receive: Receive, response: Response) -> bool:
    """True when the work is done, False when the client disconnects first; the work is then cancelled.

    What was handed over to the gate is awaited: the gate reports when it has left, or that the client is gone.
    """
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if response.handed_over:
            await asyncio.wait((work,))
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


def _response(send: Send, request_id: str, path: str, extensions: Mapping[str, Any]) -> Response:
    begun = False
    gate: GateLink | None = extensions.get(EXTENSION)
    write_chunks: Callable[[Sequence[bytes]], Awaitable[None]] = extensions[CHUNKS]
    header = (HEADER, request_id.encode())

    async def write_body(status: int, body: bytes) -> None:
        headers = [_JSON, (b"content-length", b"%d" % len(body)), header, *error_headers(status)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        response.handed_over = True

    async def write_error(error: ApiError) -> None:
        await write_body(error.status, json.dumps(error_body(path, error)).encode())

    async def begin() -> None:
        nonlocal begun
        if not begun:
            begun = True
            await send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, header]})

    async def write_event(data: bytes, group: tuple[int, bool] | None = None) -> None:
        await begin()
        if gate is not None and group is not None:
            gate.group(group[0], last=group[1])
        await send({"type": "http.response.body", "body": data, "more_body": True})

    async def write_events(events: Sequence[bytes]) -> None:
        await begin()
        await write_chunks(events)

    async def close() -> None:
        await send({"type": "http.response.body", "body": b""})
        response.handed_over = True

    response = Response(request_id, write_body, write_event, write_events, write_error, close, gate)
    return response
