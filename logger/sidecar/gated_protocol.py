"""HTTP behind the gate: the sidecar's end of the link that belongs to a client's connection."""

import asyncio
import json
from typing import Any, cast

from weightwarden.logger.gate.frames import Frame, FrameReader, Kind
from weightwarden.logger.serving.coalescing_transport import CoalescingTransport
from weightwarden.logger.serving.connection_limits import ConnectionLimits
from weightwarden.logger.serving.limited_protocol import LINGER_SECONDS, LimitedHttpProtocol
from weightwarden.logger.serving.refusal import Refusal
from weightwarden.logger.serving.waiting_room import WaitingRoom

EXTENSION = "weightwarden.gate"
"""The name of the ASGI extension with the request's `GateLink`."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LONGEST_WAIT_SECONDS = 60.0
"""Seconds that an answer to what is no request may wait in the gate."""


class GateLink:
    """A transport of which the gate is the other end. What is written leaves at the moments that the gate chooses.

    All other attributes are those of the wrapped transport.
    """

    def __init__(self, link: CoalescingTransport, loop: asyncio.AbstractEventLoop, hello: dict[str, Any]) -> None:
        self._link, self._loop = link, loop
        self._info = {
            "peername": tuple(hello["address"]) if hello["address"][0] else None,
            "sslcontext": True if hello["tls"] else None,
        }
        self._group: tuple[int, bool] | None = None
        self._closing = False
        self._report: asyncio.Future[dict[str, Any] | None] | None = None

    def begin(self, choices: int) -> None:
        """Begin a streamed response of so many choices."""
        self._send(Frame(Kind.BEGIN, choice=choices))

    def group(self, choice: int, *, last: bool) -> None:
        """Make the next write a group of a choice."""
        self._group = choice, last

    def report(self) -> "asyncio.Future[dict[str, Any] | None]":
        """The schedules of the response under way, once it has left or its client is gone; None if the link is lost."""
        if self._report is None:
            self._report = self._loop.create_future()
        return self._report

    def reported(self, report: dict[str, Any] | None) -> None:
        """Resolve the report of the response under way, unless it is resolved."""
        if not self.report().done():
            self.report().set_result(report)

    def next_request(self) -> None:
        """Forget the report of the last response: the next one has a report of its own."""
        self._report = None

    def end(self) -> None:
        """End the response."""
        self._send(Frame(Kind.END))

    def write(self, data: bytes) -> None:
        """Write bytes of a response, or an interim response."""
        if self._group is not None:
            (choice, last), self._group = self._group, None
            self._send(Frame(Kind.GROUP, data, choice, last))
        elif data == _CONTINUE:
            self._send(Frame(Kind.INTERIM, data))
        elif data:
            self._send(Frame(Kind.TEXT, data))

    def can_write_eof(self) -> bool:
        """True: the gate ends the sending side where it can. Over TLS it cannot."""
        return True

    def write_eof(self) -> None:
        """End the response and the sending side, once all has left."""
        self.end()
        self._send(Frame(Kind.FINISH))

    def is_closing(self) -> bool:
        """True once nothing more can be written."""
        return self._closing or bool(self._link.is_closing())

    def close(self) -> None:
        """Close the connection once all that was written, in this round of the event loop too, has left."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._send, Frame(Kind.BYE))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The client's address, and whether it uses TLS."""
        return self._info.get(name, default)

    def _send(self, frame: Frame) -> None:
        if not self._link.is_closing():
            self._link.write(frame.encode())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class GatedHttpProtocol(LimitedHttpProtocol):
    """HTTP/1.1 whose client is behind the gate. A response is over once it has left the gate."""

    linger = LINGER_SECONDS + LONGEST_WAIT_SECONDS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._frames = FrameReader()
        self._raw: asyncio.Transport | None = None
        self._gate_link: GateLink | None = None
        self._unreleased = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)

    def wrapped(self, transport: asyncio.Transport) -> asyncio.Transport:
        """The transport that frames what is written."""
        return cast(asyncio.Transport, self._gate_link)

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            if frame.kind is Kind.HELLO:
                assert self._raw is not None
                link = CoalescingTransport(self._raw, self.loop)
                self._gate_link = GateLink(link, self.loop, json.loads(frame.payload))
                super().connection_made(self._raw)
            elif frame.kind is Kind.DATA:
                super().data_received(frame.payload)
            elif frame.kind is Kind.EOF:
                if not super().eof_received():
                    self.transport.close()
            elif frame.kind is Kind.REPORT:
                self._released(json.loads(frame.payload))

    def eof_received(self) -> bool:  # type: ignore[override]
        """False: the gate closes the link as a whole."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gate_link is not None:
            self._gate_link.reported(None)
            super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.scope is not None and not self._is_deaf:
            assert self._gate_link is not None
            self._gate_link.next_request()
            self.scope["extensions"] = {EXTENSION: cast(Any, self._gate_link)}

    @property
    def _is_answered(self) -> bool:
        return super()._is_answered and not self._unreleased

    def _make_last(self) -> None:
        """Leave the head as it is: whether it is written already shows when the answer reached the gate."""

    def _ask_whether_gone(self) -> None:
        """Send no interim response: whether one comes would show whether the answer waits in the gate."""

    def on_response_complete(self) -> None:
        assert self._gate_link is not None
        self._gate_link.end()
        self._unreleased = True

    def _released(self, report: dict[str, Any]) -> None:
        assert self._gate_link is not None
        self._gate_link.reported(report)
        if self._unreleased:
            self._unreleased = False
            super().on_response_complete()
            if self._ended or self._left_unread is not None:
                self.transport.close()


def gated_protocol(limits: ConnectionLimits, refusal: Refusal) -> type[GatedHttpProtocol]:
    """The protocol under these limits, with these answers to what is no request."""
    shared = {"limits": limits, "room": WaitingRoom(limits.waiting), "refusal": refusal}
    return type("GatedHttpProtocol", (GatedHttpProtocol,), shared)
