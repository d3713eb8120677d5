"""One TCP connection of a sidecar to an inference server, and the exchanges on it."""

from collections.abc import Callable

from weightwarden.verifier.egress.byte_stream import ByteStream, Memory
from weightwarden.verifier.egress.conversation import Conversation
from weightwarden.verifier.egress.errors import EncryptedLink
from weightwarden.verifier.egress.exchange import Exchange
from weightwarden.verifier.egress.frame_counts import FrameCounts, place_of
from weightwarden.verifier.egress.frames import Frame
from weightwarden.verifier.egress.layers import ACK, FIN, RST, SYN, URG, Segment
from weightwarden.verifier.egress.opening import Opening

CONTROL, REPEATED, OUT_OF_ORDER = "connection control", "retransmissions", "segments out of order"
"""Classes of explained frames."""
AFTER_GAP = "bytes after a gap in the capture"
"""A kind of what is unexplained."""
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
        conversation: its requests and responses.
    """

    def __init__(self, syn: Segment, counts: FrameCounts, memory: Memory, ended: Callable[[Exchange], None]) -> None:
        """A connection before its first segment.

        Args:
            syn: the segment that opens it.
            counts: counts its frames.
            memory: counts the bytes that are held.
            ended: receives each exchange that has ended.
        """
        self._counts, self._memory = counts, memory
        self.conversation = Conversation(counts, memory, ended)
        self._opening = Opening(syn)
        self._answer: Segment | None = None
        self._scale_up = self._scale_down = 0
        self._up, self._down = ByteStream(syn.sequence + 1, memory), ByteStream(0, memory)
        self._down.edge = syn.window
        self._missing_since: float | None = None
        self._torn = False
        self.closed_at: float | None = None
        self._last_time = 0.0
        self.lost_bytes = 0

    def is_over(self, time: float) -> bool:
        """True if no more segments are to come at a time: it was closed long before, never answered, or silent."""
        since = self._last_time if self.closed_at is None else self.closed_at
        answered = self._answer is not None and self.closed_at is None
        return time - since > (IDLE_SECONDS if answered else LINGER_SECONDS)

    def is_opened_by(self, syn: Segment) -> bool:
        """True if a segment that opens a connection is this one's, sent again."""
        return self._opening.is_of(syn)

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
        opening = self._opening
        if segment.flags & SYN:
            fault = opening.fault_of(segment, upward=upward)
        else:
            fault = _fault_of_flags(segment)
            if upward and segment.flags & ACK and not opening.taken:
                opening.take(segment.acknowledgement)
        if opening.answer is not None and opening.answer is not self._answer:
            self._adopt(opening.answer)
        stream, other = (self._up, self._down) if upward else (self._down, self._up)
        if fault is None and self._answer is None and segment.payload:
            fault = "segment before its connection"
        position = stream.position_of(segment.sequence)
        end = position + len(segment.payload)
        if fault is None and segment.payload and stream.end is not None and end > stream.end:
            fault = "bytes after the end of a stream"
        if fault is not None:
            self._counts.add(fault, frame)
            return
        if segment.flags & ACK and self._answer is not None:
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
            self.conversation.settle()
            if self._up.end is not None:
                self._close(frame.time)

    def forget(self) -> None:
        """Account for what remains, and drop all that is held."""
        self.conversation.forget()
        self.lost_bytes += 0 if self._torn else self._up.lacks + self._down.lacks
        self._up.forget()
        self._down.forget()

    def _adopt(self, answer: Segment) -> None:
        """Begin the server's stream as an answer to the opening says."""
        self._answer, edge = answer, self._down.edge
        self._down.forget()
        self._down = ByteStream(answer.sequence + 1, self._memory)
        self._down.edge, self._up.edge = edge, max(self._up.edge, answer.window)
        self._scale_up, self._scale_down = self._opening.scales

    def _acknowledge(self, other: ByteStream, segment: Segment, time: float, *, upward: bool) -> None:
        """Take in what a segment says about the opposite stream."""
        position = other.position_of(segment.acknowledgement)
        scale = 0 if segment.flags & SYN else self._scale_up if upward else self._scale_down
        other.acknowledged = max(other.acknowledged, position)
        other.edge = max(other.edge, position + (segment.window << scale))
        if self._torn or not other.lacks:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = time
        elif time - self._missing_since > PATIENCE_SECONDS:
            self.lost_bytes += self._up.lacks + self._down.lacks
            self._torn = True
            self.conversation.give_up(AFTER_GAP)

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
            self.conversation.add(data, counted, upward=upward)

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
