"""Packets that arrive at the world, and at the sockets of the sidecar's host."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.ways_out.frames import ETH_ARP
from benchmarks.ways_out.machines import Machines
from benchmarks.ways_out.site import WORLD_MAC

_ALL = 0x0003
_BARRIER = 0x88B6
"""An ethertype for local experiments, of the frame behind which nothing earlier is under way."""
_FRAMES = (ETH_ARP, 0x0004, 0x8035, 0x8808, 0x88B5, 0x88CC, 0x888E)
"""Ethertypes that the sidecar's host listens to: ARP, IEEE 802.2, reverse ARP, PAUSE, experiments, LLDP, EAPOL."""
_IPV4 = (socket.IPPROTO_ICMP, socket.IPPROTO_IGMP, 4, socket.IPPROTO_TCP, socket.IPPROTO_UDP, 41, 47, 50, 132, 253)
_IPV6 = (socket.IPPROTO_ICMPV6, socket.IPPROTO_TCP, socket.IPPROTO_UDP, 253)
_SECONDS = 10.0
_LARGEST = 1 << 16


class Arrivals:
    """Sockets that take in everything.

    The world's see all frames of its device. Those of the sidecar's host are raw sockets, one a protocol: they get what
    passed its rules, for whatever port. The sidecar's connection to the inference server is open all the time.
    """

    def __init__(self, machines: Machines, stack: ExitStack) -> None:
        self._machines = machines
        self._stack = stack
        site = machines.site
        with machines.server.entered():
            listener = self._opened(socket.socket())
            listener.bind((str(site.inference_address), site.inference_port))
            listener.listen()
        with machines.sidecar.entered():
            self._asking = self._opened(socket.socket())
            self._asking.settimeout(_SECONDS)
            self._asking.connect((str(site.inference_address), site.inference_port))
            self._towards_world = self._opened(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            self._towards_world.bind((machines.world_link, 0))
            self._sidecars = [
                *(self._opened(socket.socket(socket.AF_INET, socket.SOCK_RAW, one)) for one in _IPV4),
                *(self._opened(socket.socket(socket.AF_INET6, socket.SOCK_RAW, one)) for one in _IPV6),
                *(self._opened(_listening(ethertype)) for ethertype in _FRAMES),
            ]
        self._answering = self._opened(listener.accept()[0])
        with machines.world.entered():
            self._worlds = self._opened(_listening(_ALL))
            self._worlds.settimeout(_SECONDS)

    @property
    def sidecar_port(self) -> int:
        """Port of the sidecar's end of its connection."""
        port: int = self._asking.getsockname()[1]
        return port

    def answer(self, content: bytes) -> bytes:
        """Bytes that the sidecar reads when the server answers on the sidecar's connection."""
        self._answering.sendall(content)
        read = b""
        while len(read) < len(content) and (more := self._asking.recv(_LARGEST)):
            read += more
        return read

    def collected(self) -> dict[str, list[bytes]]:
        """Packets that have arrived at each place since the last call.

        One processor takes frames in the order in which they were sent, so nothing sent earlier is under way behind an
        answer to the sidecar and a frame from there to the world.
        """
        self.answer(os.urandom(8))
        barrier = WORLD_MAC + self._machines.site.sidecar_mac + _BARRIER.to_bytes(2) + os.urandom(46)
        self._towards_world.send(barrier)
        world = []
        while (frame := self._worlds.recv(_LARGEST)) != barrier:
            world.append(frame)
        return {"world": world, "sidecar": [packet for one in self._sidecars for packet in _waiting(one)]}

    def _opened(self, opened: socket.socket) -> socket.socket:
        return self._stack.enter_context(opened)


@contextmanager
def arrivals(machines: Machines) -> Iterator[Arrivals]:
    """Arrivals while the block runs, on one processor."""
    allowed = os.sched_getaffinity(0)
    with ExitStack() as stack:
        os.sched_setaffinity(0, {min(allowed)})
        stack.callback(os.sched_setaffinity, 0, allowed)
        yield Arrivals(machines, stack)


def _listening(ethertype: int) -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))


def _waiting(listening: socket.socket) -> Iterator[bytes]:
    listening.setblocking(False)
    while True:
        try:
            yield listening.recv(_LARGEST)
        except BlockingIOError:
            return
