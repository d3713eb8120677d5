"""What uvicorn leaves to others: clients that are slow on purpose, headers without end, too many connections."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from logger.sidecar.corked import CorkedTransport
from logger.sidecar.limits import Limits

LINGER_SECONDS = 2.0
"""For a client that still sends to read its answer."""


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on what a connection may cost before, between and behind its requests."""

    limits: Limits

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._fed, self._parsed = 0, 0
        self._in_headers = True
        self._refused = False
        self._patience: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, CorkedTransport(transport, self.loop)))
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_headers:
            self._await_headers()
            self._fed += len(data)
        super().data_received(data)
        if self._in_headers and self._fed > self.limits.header_bytes:
            self._refuse()

    def on_url(self, url: bytes) -> None:
        self._parsed += len(url)
        super().on_url(url)

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse()  # uvicorn would no longer tell the first request that its client is gone
        else:
            super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsed += len(name) + len(value)
        if self._parsed > self.limits.header_bytes:
            self._refuse()
        elif self._in_headers and not self._refused:  # trailers are of no use to anybody
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._headers_came()
        self._in_headers = False
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()
        self._in_headers, self._fed, self._parsed = True, 0, 0

    def on_response_complete(self) -> None:
        if not self._in_headers:  # answered before the request was complete: nothing more of it is wanted
            self._patience = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(self.limits.send, self.transport.abort)

    def resume_writing(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        super().resume_writing()

    def _refuse(self) -> None:
        self._refused = True
        self.transport.abort()

    def _await_headers(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self.limits.headers, self.transport.abort)

    def _headers_came(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """The protocol under these limits."""
    return type("Guarded", (GuardedProtocol,), {"limits": limits})
