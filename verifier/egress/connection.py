"""One TCP connection of a sidecar to an inference server, and the exchanges on it."""

from collections import deque
from collections.abc import Callable

from weightwarden.verifier.egress.byte_stream import ByteStream, Memory
from weightwarden.verifier.egress.errors import EncryptedLink
from weightwarden.verifier.egress.exchange import Exchange, RequestBody
from weightwarden.verifier.egress.frame_counts import FrameCount, FrameCounts, place_of
from weightwarden.verifier.egress.frames import Frame
from weightwarden.verifier.egress.http_messages import Malformed, MessageReader
from weightwarden.verifier.egress.layers import ACK, FIN, RST, SYN, URG, Segment

CONTROL, REPEATED, OUT_OF_ORDER = "connection control", "retransmissions", "segments out of order"
"""Classes of explained frames."""
OUTSIDE_EXCHANGE, AFTER_GAP = "bytes outside of an exchange", "bytes after a gap in the capture"
NOT_HTTP = "connection that is no HTTP"
"""Kinds of what is unexplained."""
PENDING_BYTES = 1 << 16
"""Largest number of the server's bytes that wait for their request."""
LINGER_SECONDS, IDLE_SECONDS = 60.0, 10_800.0
"""Time for which segments of a closed connection may still come, and for which an open one may be silent."""
PATIENCE_SECONDS = 1.0
"""Time for which an acknowledged byte may be missing before it counts as lost by the capture."""
_TLS = b"\x16\x03"


class Connection:
    """A connection that the sidecar opened.

    Attributes:
        closed_at: moment at which it was closed or reset, or None.
        lost_bytes: bytes that a receiver acknowledged and that are missing in the capture.
        exchanges: exchanges that have not ended, the oldest first.
        request_frames: frames of a request that is not whole yet.
        pending_frames: frames with bytes of the server that wait for a request.
    """

    def __init__(self, syn: Segment, counts: FrameCounts, memory: Memory, ended: Callable[[Exchange], None]) -> None:
        """A connection before its first segment.

        Args:
            syn: the segment that opens it.
            counts: counts its frames.
            memory: counts the bytes that are held.
            ended: receives each exchange that has ended.
        """
        self._counts, self._memory, self._ended = counts, memory, ended
        self._opening, self._answer = syn.sequence, -1
        self._scale_up, self._scale_down = window_scale(syn.options), 0
        self._up, self._down = ByteStream(syn.sequence + 1, memory), ByteStream(0, memory)
        self._down.edge = syn.window
        self._missing_since: float | None = None
        self._torn = self._broken = False
        self.closed_at: float | None = None
        self._last_time = 0.0
        self.lost_bytes = 0
        self.exchanges: deque[Exchange] = deque()
        self._request = RequestBody(memory)
        self._request_reader = MessageReader(self._request, response=False)
        self.request_frames = FrameCount()
        self._pending = bytearray()
        self.pending_frames = FrameCount()

    def is_over(self, time: float) -> bool:
        """True if no more segments are to come at a time: it was closed long before, never answered, or silent."""
        since = self._last_time if self.closed_at is None else self.closed_at
        answered = self._answer >= 0 and self.closed_at is None
        return time - since > (IDLE_SECONDS if answered else LINGER_SECONDS)

    def is_opened_by(self, syn: Segment) -> bool:
        """True if a segment that opens a connection is this one's, sent again."""
        return syn.sequence == self._opening

    def add(self, segment: Segment, frame: Frame, *, upward: bool) -> None:
        """Account for a segment.

        Args:
            segment: the segment.
            frame: its frame.
            upward: True if the sidecar sent it, False if the server did.

        Raises:
            EncryptedLink: the sidecar encrypts.
        """
        self._last_time = frame.time
        fault = self._opened(segment, upward=upward) if segment.flags & SYN else _fault_of_flags(segment)
        stream, other = (self._up, self._down) if upward else (self._down, self._up)
        if fault is None and self._answer < 0 and segment.payload:
            fault = "segment before its connection"
        position = stream.position_of(segment.sequence)
        end = position + len(segment.payload)
        if fault is None and segment.payload and stream.end is not None and end > stream.end:
            fault = "bytes after the end of a stream"
        if fault is not None:
            self._counts.add(fault, frame)
            return
        if segment.flags & ACK and self._answer >= 0:
            self._acknowledge(other, segment, frame.time, upward=upward)
        if segment.payload:
            self._add_payload(stream, position, segment.payload, frame, upward=upward)
        else:
            self._counts.add(CONTROL, frame)
        if segment.flags & FIN and stream.end is None:
            stream.end = end
        if segment.flags & RST:
            self._close(frame.time)
        elif self._down.end is not None and self._down.position >= self._down.end:
            self.settle()
            if self._up.end is not None:
                self._close(frame.time)

    def settle(self) -> None:
        """End the exchanges: nothing more of the server is to come."""
        while self.exchanges:
            exchange = self.exchanges.popleft()
            exchange.end()
            self._ended(exchange)

    def forget(self) -> None:
        """Account for what remains, and drop all that is held."""
        self.settle()
        self._counts.add_count(OUTSIDE_EXCHANGE, self.pending_frames)
        self._counts.add_count(OUTSIDE_EXCHANGE, self.request_frames)
        self.lost_bytes += 0 if self._torn else self._up.lacks + self._down.lacks
        self._memory.held -= len(self._pending)
        self._pending.clear()
        self.pending_frames, self.request_frames = FrameCount(), FrameCount()
        self._request.forget()
        self._up.forget()
        self._down.forget()

    def _opened(self, segment: Segment, *, upward: bool) -> str | None:
        """Take in a segment of the opening; the kind of what is unexplained about it, or None."""
        if segment.payload:
            return "data in the opening of a connection"
        if segment.flags & (FIN | RST | URG):
            return "malformed header"
        if upward:
            return None if segment.sequence == self._opening else "segment before its connection"
        if not segment.flags & ACK:
            return "connection that the sidecar did not open"
        if self._answer < 0:
            edge, self._answer = self._down.edge, segment.sequence
            self._down = ByteStream(segment.sequence + 1, self._memory)
            self._down.edge = edge
            self._up.edge = segment.window
            scale = window_scale(segment.options)
            self._scale_down = scale or 0
            self._scale_up = (self._scale_up or 0) if scale is not None else 0
        return None if segment.sequence == self._answer else "second opening of a connection"

    def _acknowledge(self, other: ByteStream, segment: Segment, time: float, *, upward: bool) -> None:
        """Take in what a segment says about the opposite stream."""
        position = other.position_of(segment.acknowledgement)
        scale = 0 if segment.flags & SYN else self._scale_up if upward else self._scale_down
        other.acknowledged = max(other.acknowledged, position)
        other.edge = max(other.edge, position + (segment.window << (scale or 0)))
        if self._torn or not other.lacks:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = time
        elif time - self._missing_since > PATIENCE_SECONDS:
            self._tear()

    def _tear(self) -> None:
        """Give the content up: bytes are missing in the capture."""
        self.lost_bytes += self._up.lacks + self._down.lacks
        self._torn = True
        for exchange in self.exchanges:
            self._counts.add_count(AFTER_GAP, exchange.frames)
            exchange.forget()
        self.exchanges.clear()

    def _add_payload(self, stream: ByteStream, position: int, payload: bytes, frame: Frame, *, upward: bool) -> None:
        if self._torn:
            self._counts.add(AFTER_GAP, frame)
            return
        if position + len(payload) > stream.edge:
            self._counts.add("bytes outside of the receive window", frame)
            return
        repeated = position + len(payload) <= stream.position
        begins = stream.position == 0
        data, fault = stream.add(position, payload)
        if fault is not None:
            self._counts.add(fault, frame)
        elif repeated:
            self._counts.add(REPEATED, frame)
        elif not data:
            self._counts.add(OUT_OF_ORDER, frame)
        counted = None if fault is not None or not data else frame
        if begins and upward and data[:2] == _TLS:
            raise EncryptedLink(place_of(frame))
        if data:
            (self._feed_request if upward else self._feed_response)(data, counted)

    def _feed_request(self, data: bytes, frame: Frame | None) -> None:
        """Read bytes of the sidecar."""
        while data and not self._broken:
            try:
                data = self._request_reader.add(data)
            except Malformed:
                self._break()
                break
            if not data and frame is not None:
                self.request_frames.add(frame)
                frame = None
            if self._request_reader.done:
                assert self._request_reader.head is not None  # a whole message has one
                self.exchanges.append(
                    Exchange(self._request_reader.head, self._request, self.request_frames, self._memory)
                )
                self._request = RequestBody(self._memory)
                self._request_reader = MessageReader(self._request, response=False)
                self.request_frames = FrameCount()
                self._feed_pending()
        if self._broken and frame is not None:
            self._counts.add(NOT_HTTP, frame)

    def _feed_pending(self) -> None:
        """Read the server's bytes that came before their request in the capture."""
        if not self._pending:
            return
        data, frames = bytes(self._pending), self.pending_frames
        self._memory.held -= len(data)
        self._pending.clear()
        self.pending_frames = FrameCount()
        self.exchanges[0].frames.merge(frames)
        self._feed_response(data, None)

    def _feed_response(self, data: bytes, frame: Frame | None) -> None:
        """Read bytes of the server."""
        while data and self.exchanges and not self._broken:
            exchange = self.exchanges[0]
            try:
                data = exchange.add(data)
            except Malformed:
                self._break()
                break
            if not data and frame is not None:
                exchange.frames.add(frame)
            if exchange.ended:
                self._ended(self.exchanges.popleft())
        if not data:
            return
        if not self._broken and len(self._pending) + len(data) <= PENDING_BYTES and self._memory.take(len(data)):
            self._pending += data
            if frame is not None:
                self.pending_frames.add(frame)
        elif frame is not None:
            self._counts.add(NOT_HTTP if self._broken else OUTSIDE_EXCHANGE, frame)

    def _break(self) -> None:
        """Give the content up: it is no HTTP."""
        self._broken = True
        self._counts.add_count(NOT_HTTP, self.request_frames)
        self.request_frames = FrameCount()
        for exchange in self.exchanges:
            self._counts.add_count(NOT_HTTP, exchange.frames)
            exchange.forget()
        self.exchanges.clear()

    def _close(self, time: float) -> None:
        if self.closed_at is None:
            self.closed_at = time


def _fault_of_flags(segment: Segment) -> str | None:
    """The kind of what is unexplained about the flags of a segment, or None."""
    if segment.flags & URG:
        return "urgent data"
    if segment.flags & RST and segment.payload:
        return "data in a reset"
    return None


def window_scale(options: bytes) -> int | None:
    """The window scale in the options of a segment, or None."""
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2:
            return None
        if options[at] == 3 and length == 3 and at + 2 < len(options):
            return min(options[at + 2], 14)
        at += length
    return None
