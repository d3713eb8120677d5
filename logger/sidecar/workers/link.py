"""Link between the main process and a worker: frames over a socket pair. Nothing in them is executed."""

import asyncio
import json
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, cast

from weightwarden.logger.serving.event_log import Events

_HEAD = struct.Struct("<IB")


class Kind(IntEnum):
    """The kind of a frame.

    Of a worker: changes of the log (CHANGES), a request for seeds (ISSUE), the end of a request with seeds (RELEASE),
    its metrics (METRICS), the begin of its service (LISTENING), why it cannot begin (FAILED).

    Of the main process: what the worker begins with (HELLO), the results of changes (RESULTS, UNWRITTEN), seeds
    (ISSUED), that they are durable or not (RECORDED), the states of the inference servers (SERVERS), that the worker
    stops (STOP).
    """

    CHANGES = 1
    ISSUE = 2
    RELEASE = 3
    METRICS = 4
    LISTENING = 5
    FAILED = 6
    HELLO = 16
    RESULTS = 17
    UNWRITTEN = 18
    ISSUED = 19
    RECORDED = 20
    SERVERS = 21
    STOP = 22


class Link(asyncio.Protocol):
    """One end of a link. Used within one event loop."""

    def __init__(
        self, taken: Callable[[Kind, memoryview], None], lost: Callable[[], None], events: Events | None = None
    ) -> None:
        """An end of a link that is not connected.

        Args:
            taken: receives each frame. The memory of its payload is used again after it returns.
            lost: is called when the other process has ended.
            events: the operator's log, for defects of `taken`.
        """
        self._taken, self._lost, self._events = taken, lost, events
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a frame. After the end of the other process it is dropped."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_HEAD.pack(len(payload), kind) + payload)

    def tell(self, kind: Kind, /, **message: Any) -> None:
        """Send a frame that holds JSON."""
        self.send(kind, json.dumps(message).encode())

    def close(self) -> None:
        """Close the link once what was sent has left."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        view, at = memoryview(self._received), 0
        try:
            while len(view) - at >= _HEAD.size:
                length, kind = _HEAD.unpack_from(view, at)
                end = at + _HEAD.size + length
                if len(view) < end:
                    break
                try:
                    with view[at + _HEAD.size : end] as payload:
                        self._taken(Kind(kind), payload)
                except Exception as error:  # a defect in the work on one frame must not end the link
                    if self._events is None:
                        raise
                    self._events.defect(error)
                at = end
        finally:
            view.release()
        del self._received[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost()
