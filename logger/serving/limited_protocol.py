"""Connection limits that uvicorn lacks, against slow clients, endless headers and too many connections."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from weightwarden.logger.serving.coalescing_transport import CoalescingTransport
from weightwarden.logger.serving.connection_limits import ConnectionLimits
from weightwarden.logger.serving.declining_parser import DecliningParser
from weightwarden.logger.serving.refusal import Refusal
from weightwarden.logger.serving.waiting_room import WaitingRoom, network_of

LINGER_SECONDS = 2.0
"""Seconds for which a client that still sends may read its answer."""
PROBE_SECONDS = 2.0
"""Seconds between two probes of a client that has sent its last byte and waits for its answer, or is gone."""
CHUNKS = "weightwarden.chunks"
"""ASGI extension of a request: `LimitedHttpProtocol.write_chunks`."""
_PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""An interim response. Every HTTP/1.1 client skips it (RFC 9110, 15.2); a client that is gone resets the connection."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits on the cost of a connection before, during and after its requests.

    Bytes that a client sends behind a request under way are not read: that answer is the connection's last. A client
    that shut down its sending side still gets its answer.
    """

    limits: ConnectionLimits
    room: WaitingRoom
    refusal: Refusal
    linger = LINGER_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.url = b""
        self.parser = DecliningParser(self)  # type: ignore[assignment]
        self._fed, self._parsed = 0, 0
        self._in_headers = True
        self._refused, self._ended = False, False
        self._left_unread: int | None = None
        self._network = ""
        self._probe: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(self.wrapped(transport))
        self._network = network_of(self.client[0] if self.client else None)
        if len(self.connections) > self.limits.connections and not self.room.make_room():
            transport.abort()
        else:
            self.room.enter(self._network, self)
            self._await_headers()

    def wrapped(self, transport: asyncio.Transport) -> asyncio.Transport:
        """The transport that joins what is written in one round of the event loop."""
        return cast(asyncio.Transport, CoalescingTransport(transport, self.loop))

    def close_now(self) -> None:
        """Close the connection at once, and drop unsent bytes."""
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        self.resume_writing()
        self.room.leave(self._network, self)
        if self._probe is not None:
            self._probe.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """True if the connection stays open: a request is being answered, and not over TLS, which cannot half-close."""
        self._ended = True
        if self._refused and self._patience is None:
            return True  # the refusal is still to be written
        if self._refused or not self._is_answering or self.scheme == "https":
            self.transport.close()  # after the writes of this round of the event loop
            return False
        self._make_last()
        self._probe = self.loop.call_later(PROBE_SECONDS, self._ask_whether_gone)
        return True

    def _ask_whether_gone(self) -> None:
        """Send an interim response, unless a response has started, whose writes show a lost client."""
        if self.transport.is_closing() or self.cycle.response_started or self.cycle.scope["http_version"] == "1.0":
            return
        self.transport.write(_PROBE)
        self._probe = self.loop.call_later(PROBE_SECONDS, self._ask_whether_gone)

    @property
    def _is_answering(self) -> bool:
        """True after a whole request has arrived, until its response is complete."""
        return not self._is_answered and not self.cycle.more_body

    @property
    def _is_answered(self) -> bool:
        """True if no answer is under way."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._left_unread is not None:
            self._left_unread += len(data)
            if self._left_unread > self.limits.header_bytes + self.limits.body_bytes:
                self._refuse()
            return
        if self._in_headers:
            if not self._is_answering:
                self._await_headers()
            self._fed += len(data)
        super().data_received(data)
        if self._in_headers and not self._is_deaf and self._fed > self.limits.header_bytes:
            self._refuse_headers()

    def on_url(self, url: bytes) -> None:
        if not self._is_deaf:
            self._parsed += len(url)
            super().on_url(url)

    def on_message_begin(self) -> None:
        if not self._is_answered:
            self._leave_the_rest()  # uvicorn would no longer report to the first request that its client is gone
        elif not self._is_deaf:
            self._parsed = 0
            super().on_message_begin()

    def send_400_response(self, msg: str) -> None:
        if self._is_answering:
            self._leave_the_rest()  # malformed bytes behind a request must not interrupt its answer
        elif not self._in_headers and self.cycle is not None and self._is_answered:
            self._refused = True  # answered already: the connection ends when its client has read that
        else:
            self._tell(400, "this is no well-formed HTTP/1.1 request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_deaf:
            return
        self._parsed += len(name) + len(value)
        if self._parsed > self.limits.header_bytes:
            self._refuse_headers()
        elif self._in_headers:  # trailers are ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._is_deaf:
            self._headers_came()
            self._in_headers = False
            self.scope.setdefault("extensions", {})[CHUNKS] = cast(Any, self.write_chunks)
            super().on_headers_complete()

    async def write_chunks(self, chunks: Sequence[bytes]) -> None:
        """Write parts of the body of a response without a length, which has started, as a chunk each.

        An ASGI message for each would take most of the time of a token's way.
        """
        if self.flow.write_paused and not self.cycle.disconnected:
            await self.flow.drain()
        if not self.cycle.disconnected:
            self.transport.write(b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]))

    def on_body(self, body: bytes) -> None:
        if not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_deaf:
            self.room.leave(self._network, self)
            super().on_message_complete()
            self._in_headers, self._fed, self._parsed = True, 0, 0

    def on_response_complete(self) -> None:
        if not self._in_headers:  # answered before the request was complete: its rest is ignored
            self._patience = self.loop.call_later(self.linger, self.transport.abort)
        elif not self.transport.is_closing():
            self.room.enter(self._network, self)
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

    @property
    def _is_deaf(self) -> bool:
        """True if all further bytes of the client are ignored."""
        return self._refused or self._left_unread is not None

    def _leave_the_rest(self) -> None:
        """Make the answer under way the connection's last, and ignore the bytes behind its request."""
        self._left_unread = 0
        self._make_last()

    def _make_last(self) -> None:
        """Say in the answer under way, if its head is not sent, that the connection ends after it."""
        self.cycle.keep_alive = False

    def _refuse(self) -> None:
        self._refused = True
        self.transport.abort()

    def _refuse_headers(self) -> None:
        """Refuse headers that are too large. Trailers get no answer of their own."""
        if self._in_headers:
            self._tell(431, f"the request's headers are larger than {self.limits.header_bytes} bytes")
        else:
            self._refuse()

    def _tell(self, status: int, words: str) -> None:
        """Answer a request that cannot be parsed, and ignore all further bytes."""
        self._refused = True
        self._headers_came()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        task = self.loop.create_task(self._told(status, words))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _told(self, status: int, words: str) -> None:
        await self.refusal.pause()
        if self.transport.is_closing():
            return
        self.transport.write(self.refusal.response(self.url, status, words))
        if self._ended:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._patience = self.loop.call_later(self.linger, self.transport.abort)

    def _await_headers(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self.limits.headers, self.transport.abort)

    def _headers_came(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def limited_protocol(limits: ConnectionLimits, refusal: Refusal) -> type[LimitedHttpProtocol]:
    """The protocol under these limits, with these answers to what is no request."""
    shared = {"limits": limits, "room": WaitingRoom(limits.waiting), "refusal": refusal}
    return type("LimitedHttpProtocol", (LimitedHttpProtocol,), shared)
