"""Heartbeats on the link: whether they came at their interval, and what is unexplained about them."""

from dataclasses import dataclass

from weightwarden.verifier.egress.layers import Datagram, Packet
from weightwarden.verifier.egress.link import HEARTBEAT, Link

EARLIEST, LATEST = 0.5, 2.5
"""Shortest and longest time between two heartbeats, in intervals. A longer one is a time of blindness."""


@dataclass(frozen=True)
class Pulse:
    """The heartbeats of a time.

    Attributes:
        count: number of heartbeats.
        gaps: number of times without a heartbeat that were too long.
        longest: longest time without one, seconds.
    """

    count: int
    gaps: int
    longest: float


class Heartbeats:
    """The heartbeats of a link."""

    def __init__(self, link: Link) -> None:
        self._declared, self._sidecars = link.heartbeat, link.sidecars
        self._count = self._gaps = 0
        self._longest = 0.0
        self._last: float | None = None
        self._came = False

    def begin(self, time: float) -> None:
        """Take in the time of the first frame."""
        self._last = time

    def fault_of(self, packet: Packet, datagram: Datagram, time: float) -> str | None:
        """Take in a datagram; the kind of what is unexplained about it, or None for a heartbeat."""
        declared = self._declared
        if declared is None or packet.source not in self._sidecars:
            return "UDP datagram"
        if (packet.target, datagram.target_port) != (declared.target.address, declared.target.port):
            return "UDP datagram"
        if datagram.payload != HEARTBEAT:
            return "heartbeat of other content"
        since = time if self._last is None else self._last
        if self._came and time - since < EARLIEST * declared.seconds:
            return "heartbeat before its time"
        self._longest = max(self._longest, time - since)
        self._gaps += time - since > LATEST * declared.seconds
        self._last, self._came = time, True
        self._count += 1
        return None

    def until(self, time: float) -> Pulse:
        """The heartbeats until the time of the last frame."""
        if self._declared is None or self._last is None:
            return Pulse(self._count, 0, 0.0)
        silent = max(0.0, time - self._last)
        late = silent > LATEST * self._declared.seconds
        return Pulse(self._count, self._gaps + late, max(self._longest, silent))
