"""The account of a link: every frame of its captures is explained, undecided or unexplained."""

from collections.abc import Iterable

from weightwarden.verifier.egress.byte_stream import Memory
from weightwarden.verifier.egress.connection import Connection
from weightwarden.verifier.egress.ended_exchanges import EndedExchanges
from weightwarden.verifier.egress.frame_counts import FrameCount
from weightwarden.verifier.egress.frames import Event, Frame, Loss
from weightwarden.verifier.egress.heartbeats import Heartbeats
from weightwarden.verifier.egress.layers import (
    ACK,
    SYN,
    TCP,
    UDP,
    Packet,
    Segment,
    checksum_holds,
    datagram_of,
    packet_of,
    segment_of,
)
from weightwarden.verifier.egress.link import Link
from weightwarden.verifier.egress.logged_answers import LoggedAnswers
from weightwarden.verifier.egress.neighbours import Neighbours

MEMORY_BYTES = 1 << 28
MAX_CONNECTIONS = 1 << 14
SWEEP_FRAMES = 1 << 13
HEARTBEATS, RESOLUTIONS = "heartbeats", "address resolution"
FROM_BEFORE, OPEN = "connections from before the captures", "exchanges that have not ended"
BEGIN_SECONDS = 60.0
"""Time after the first frame in which a connection may turn up that was open before."""
_Key = tuple[bytes, int, bytes, int]


class EgressAccount:
    """The account of a link, which is fed with events in the order of time.

    Attributes:
        link: the declared link.
        answers: the log's answers; more may be added at any time.
        ended: the exchanges that have ended.
        heartbeats: the heartbeats.
        counts: frames by class, without those of exchanges that wait for a record.
        losses: frames that the captures lost by their own counters, by counter.
        frames: number of frames.
        bytes: bytes of the frames on the wire.
        first_time: time of the first frame, seconds since 1970; None before it.
        last_time: latest time of a frame.
        backwards: number of frames that were captured more than a second before one that came earlier.
        lost_bytes: bytes that were acknowledged and that the captures lack.
    """

    def __init__(self, link: Link, answers: LoggedAnswers, *, memory_bytes: int = MEMORY_BYTES) -> None:
        """An account without frames.

        Args:
            link: the declared link.
            answers: the log's answers.
            memory_bytes: largest number of bytes of connections that are held at once.
        """
        self.link, self.answers = link, answers
        self._memory = Memory(memory_bytes)
        self.ended = EndedExchanges(answers)
        self._servers = {(server.address, server.port) for server in link.servers}
        self._hosts = link.hosts
        self._neighbours = Neighbours(link)
        self.heartbeats = Heartbeats(link)
        self.counts = self.ended.counts
        self._connections: dict[_Key, Connection] = {}
        self._before: dict[_Key, None] = {}
        self.losses: dict[str, Loss] = {}
        self.frames = self.bytes = self.backwards = self._closed_lost_bytes = 0
        self.first_time: float | None = None
        self.last_time = 0.0

    def add(self, events: Iterable[Event]) -> None:
        """Account for more events.

        Raises:
            EncryptedLink: a connection of the sidecar is encrypted.
        """
        for event in events:
            if isinstance(event, Frame):
                self._add_frame(event)
            else:
                before = self.losses.get(event.what)
                self.losses[event.what] = (
                    event if before is None else before._replace(frames=before.frames + event.frames)
                )

    def finish(self) -> None:
        """End the exchanges of closed connections: no more frames are to come."""
        for connection in self._connections.values():
            if connection.closed_at is not None:
                connection.conversation.settle()

    @property
    def lost_bytes(self) -> int:
        return self._closed_lost_bytes + sum(one.lost_bytes for one in self._connections.values())

    def unfinished(self) -> tuple[FrameCount, FrameCount, int]:
        """Frames of exchanges that have not ended, frames with bytes outside of any, and the number of exchanges."""
        opened, outside, exchanges = FrameCount(), FrameCount(), 0
        for connection in self._connections.values():
            conversation = connection.conversation
            opened.merge(conversation.request_frames)
            outside.merge(conversation.pending_frames)
            exchanges += len(conversation.exchanges)
            for exchange in conversation.exchanges:
                opened.merge(exchange.frames)
        return opened, outside, exchanges

    def _add_frame(self, frame: Frame) -> None:
        self.frames += 1
        self.bytes += frame.length
        if self.first_time is None:
            self.first_time = frame.time
            self.heartbeats.begin(frame.time)
        self.backwards += frame.time < self.last_time - 1
        self.last_time = max(self.last_time, frame.time)
        if self.frames % SWEEP_FRAMES == 0:
            self._sweep(frame.time)
        packet = packet_of(frame, checks_checksums=self.link.checks_checksums)
        if isinstance(packet, str):
            self.counts.add(packet, frame)
        elif packet.protocol == TCP:
            self._add_segment(packet, frame)
        elif packet.protocol == UDP:
            self.counts.add(self._fault_of_datagram(packet, frame) or HEARTBEATS, frame)
        elif packet.protocol:
            self.counts.add(self._fault_of_message(packet, frame) or RESOLUTIONS, frame)
        else:
            self.counts.add(self._neighbours.fault_of_arp(packet, frame.time) or RESOLUTIONS, frame)

    def _fault_of_datagram(self, packet: Packet, frame: Frame) -> str | None:
        datagram = datagram_of(packet)
        if datagram is None:
            return "malformed header"
        if self.link.checks_checksums and not checksum_holds(packet):
            return "wrong checksum"
        fault = self.heartbeats.fault_of(packet, datagram, frame.time)
        if fault is None and not self._neighbours.agree(packet):
            return "another link address"
        return fault

    def _fault_of_message(self, packet: Packet, frame: Frame) -> str | None:
        if len(packet.source) == 4:
            return "ICMP" if packet.protocol == 1 else "other protocol"
        return self._neighbours.fault_of_icmpv6(packet, frame.time)

    def _add_segment(self, packet: Packet, frame: Frame) -> None:
        segment = segment_of(packet)
        if segment is None:
            self.counts.add("malformed header", frame)
            return
        if packet.source in self.link.sidecars and (packet.target, segment.target_port) in self._servers:
            key = (packet.source, segment.source_port, packet.target, segment.target_port)
            upward = True
        elif packet.target in self.link.sidecars and (packet.source, segment.source_port) in self._servers:
            key = (packet.target, segment.target_port, packet.source, segment.source_port)
            upward = False
        else:
            self.counts.add("TCP between other ports", frame)
            return
        if self.link.checks_checksums and not checksum_holds(packet):
            self.counts.add("wrong checksum", frame)
            return
        if not self._neighbours.agree(packet):
            self.counts.add("another link address", frame)
            return
        connection = self._connection(key, segment, frame, upward=upward)
        if connection is not None:
            connection.add(segment, frame, upward=upward)

    def _connection(self, key: _Key, segment: Segment, frame: Frame, *, upward: bool) -> Connection | None:
        """The connection of a segment; None if there is none, and the frame is accounted for."""
        found = self._connections.get(key)
        opens = upward and segment.flags & (SYN | ACK) == SYN
        if found is not None and not (opens and not found.is_opened_by(segment)):
            return found
        if not opens:
            self.counts.add(self._kind_of_stray(key, segment, frame), frame)
            return None
        if found is not None:
            self._forget(key)
        self._before.pop(key, None)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._sweep(frame.time, closed=True)
        if len(self._connections) >= MAX_CONNECTIONS:
            self.counts.add("more connections than are followed", frame)
            return None
        self._connections[key] = Connection(segment, self.counts, self._memory, self.ended.add)
        return self._connections[key]

    def _kind_of_stray(self, key: _Key, segment: Segment, frame: Frame) -> str:
        """The class of a segment whose connection was not seen to open."""
        if segment.flags & SYN:
            return "connection that the sidecar did not open"
        begins = self.first_time is not None and frame.time <= self.first_time + BEGIN_SECONDS
        if key not in self._before and begins and len(self._before) < MAX_CONNECTIONS:
            self._before[key] = None
        return FROM_BEFORE if key in self._before else "segment of no open connection"

    def _sweep(self, time: float, *, closed: bool = False) -> None:
        """Forget the connections that are over at a time, and, where `closed`, all that are closed."""
        for key, one in list(self._connections.items()):
            if one.is_over(time) or (closed and one.closed_at is not None):
                self._forget(key)

    def _forget(self, key: _Key) -> None:
        connection = self._connections.pop(key)
        connection.forget()
        self._closed_lost_bytes += connection.lost_bytes
