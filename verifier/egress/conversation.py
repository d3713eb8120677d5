"""The requests and responses on one connection."""

from collections import deque
from collections.abc import Callable

from weightwarden.verifier.egress.byte_stream import Memory
from weightwarden.verifier.egress.exchange import Exchange, RequestBody
from weightwarden.verifier.egress.frame_counts import FrameCount, FrameCounts
from weightwarden.verifier.egress.frames import Frame
from weightwarden.verifier.egress.http_messages import Malformed, MessageReader

OUTSIDE_EXCHANGE, NOT_HTTP = "bytes outside of an exchange", "connection that is no HTTP"
"""Kinds of what is unexplained."""
PENDING_BYTES = 1 << 16
"""Largest number of the server's bytes that wait for their request."""


class Conversation:
    """The exchanges of a connection, in the order of their requests.

    Attributes:
        exchanges: exchanges that have not ended, the oldest first.
        request_frames: frames of a request that is not whole yet.
        pending_frames: frames with bytes of the server that wait for a request.
    """

    def __init__(self, counts: FrameCounts, memory: Memory, ended: Callable[[Exchange], None]) -> None:
        """A conversation before its first byte.

        Args:
            counts: counts the frames.
            memory: counts the bytes that are held.
            ended: receives each exchange that has ended.
        """
        self._counts, self._memory, self._ended = counts, memory, ended
        self._given_up: str | None = None
        self._frame: Frame | None = None
        self.exchanges: deque[Exchange] = deque()
        self._request = RequestBody(memory)
        self._request_reader = MessageReader(self._request, response=False)
        self.request_frames = FrameCount()
        self._pending = bytearray()
        self.pending_frames = FrameCount()

    def add(self, data: bytes, frame: Frame | None, *, upward: bool) -> None:
        """Read the next bytes.

        Args:
            data: the bytes.
            frame: the frame that brought them, or None if it is counted elsewhere.
            upward: True if the sidecar sent them, False if the server did.
        """
        self._frame = frame
        if self._given_up is None:
            try:
                (self._add_request if upward else self._add_response)(data)
            except Malformed:
                self.give_up(NOT_HTTP)
        if self._given_up is not None and self._frame is not None:
            self._counts.add(self._given_up, self._frame)

    def settle(self) -> None:
        """End the exchanges: nothing more of the server is to come."""
        while self.exchanges:
            exchange = self.exchanges.popleft()
            exchange.end()
            self._ended(exchange)

    def give_up(self, kind: str) -> None:
        """Count the frames of what is under way, and all later ones, as of a kind of what is unexplained."""
        self._given_up = kind
        for frames in (self.request_frames, self.pending_frames, *(one.frames for one in self.exchanges)):
            self._counts.add_count(kind, frames)
        self.request_frames, self.pending_frames = FrameCount(), FrameCount()
        for exchange in self.exchanges:
            exchange.forget()
        self.exchanges.clear()
        self._drop()

    def forget(self) -> None:
        """Account for what remains, and drop all that is held."""
        self.settle()
        self.give_up(OUTSIDE_EXCHANGE)

    def _drop(self) -> None:
        self._memory.held -= len(self._pending)
        self._pending.clear()
        self._request.forget()

    def _count(self, frames: FrameCount) -> None:
        """Count the present frame, unless it is counted already."""
        if self._frame is not None:
            frames.add(self._frame)
            self._frame = None

    def _add_request(self, data: bytes) -> None:
        """Read bytes of the sidecar.

        Raises:
            Malformed: they are no HTTP.
        """
        while data:
            data = self._request_reader.add(data)
            if not data:
                self._count(self.request_frames)
            head = self._request_reader.head
            if self._request_reader.done and head is not None:
                self.exchanges.append(Exchange(head, self._request, self.request_frames, self._memory))
                self._request = RequestBody(self._memory)
                self._request_reader = MessageReader(self._request, response=False)
                self.request_frames = FrameCount()
                self._add_pending()

    def _add_pending(self) -> None:
        """Read the server's bytes that came before their request in the capture.

        Raises:
            Malformed: they are no HTTP.
        """
        if not self._pending:
            return
        data, frames = bytes(self._pending), self.pending_frames
        self._memory.held -= len(data)
        self._pending.clear()
        self.pending_frames = FrameCount()
        self.exchanges[0].frames.merge(frames)
        self._add_response(data)

    def _add_response(self, data: bytes) -> None:
        """Read bytes of the server.

        Raises:
            Malformed: they are no HTTP.
        """
        while data and self.exchanges:
            exchange = self.exchanges[0]
            data = exchange.add(data)
            if not data:
                self._count(exchange.frames)
            if exchange.ended:
                self._ended(self.exchanges.popleft())
        if not data:
            return
        if len(self._pending) + len(data) > PENDING_BYTES or not self._memory.take(len(data)):
            self.give_up(OUTSIDE_EXCHANGE)
            return
        self._pending += data
        self._count(self.pending_frames)
