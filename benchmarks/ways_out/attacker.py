"""The compromised server: a process with all rights on the inference host."""

import random
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from benchmarks.ways_out.frames import ACK, ETH_IP, PSH, ethernet, tcp
from benchmarks.ways_out.machines import Machines

_QDISC_BYPASS = 20
"""PACKET_QDISC_BYPASS of linux/if_packet.h."""
_PACKET_LEVEL = 263


class Attacker:
    """Sockets on the inference host, and what it knows: its site, and the ports of the sidecar's connection.

    Attributes:
        site: names and addresses of the link.
        sidecar_port: port of the sidecar's end of its connection.
    """

    def __init__(self, machines: Machines, sidecar_port: int, seed: int, stack: ExitStack) -> None:
        self.site = machines.site
        self.sidecar_port = sidecar_port
        self._machines = machines
        self._random = random.Random(seed)  # noqa: S311
        with machines.server.entered():
            self._frames, self._bypass = (
                stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) for _ in range(2)
            )
            for opened in (self._frames, self._bypass):
                opened.bind((self.site.sidecar_link, 0))
        self._bypass.setsockopt(_PACKET_LEVEL, _QDISC_BYPASS, 1)

    def marker(self) -> bytes:
        """Bytes by which a frame is recognised where it arrives."""
        return self._random.randbytes(12)

    def send(self, frame: bytes, *, bypass: bool = False) -> None:
        """Send a frame, past the queue of this host's device if `bypass`; its own rules may drop it."""
        with suppress(OSError):  # ENOBUFS: dropped
            (self._bypass if bypass else self._frames).send(frame)

    def to_sidecar(self, packet: bytes, ethertype: int = ETH_IP) -> bytes:
        """A frame to the sidecar's host, which would route the packet."""
        return ethernet(self.site.sidecar_mac, self.site.inference_mac, ethertype, packet)

    def answer(self, payload: bytes, options: bytes = b"") -> bytes:
        """A packet that looks like a segment of the sidecar's connection."""
        ports = self.site.inference_port, self.sidecar_port
        return tcp(self.site.inference_address, self.site.sidecar_address, ports, PSH | ACK, payload, options)

    def connect(self, address: IPv4Address, port: int) -> bytes:
        """Begin a TCP connection by the kernel; returns the bytes of addresses and ports that each segment has."""
        with self.opened(socket.SOCK_STREAM) as connecting:
            connecting.setblocking(False)
            connecting.bind((str(self.site.inference_address), 0))
            own: int = connecting.getsockname()[1]
            connecting.connect_ex((str(address), port))
        return self.site.inference_address.packed + address.packed + own.to_bytes(2) + port.to_bytes(2)

    def opened(self, kind: int, protocol: int = 0) -> socket.socket:
        """A new socket of IPv4 on this host."""
        with self._machines.server.entered():
            return socket.socket(socket.AF_INET, kind, protocol)


@dataclass(frozen=True)
class Try:
    """A way that is tried.

    Attributes:
        name: what is sent.
        counter: the counter of the rules that counts it.
        act: sends it, and returns the marker of each packet that was sent.
    """

    name: str
    counter: str
    act: Callable[[Attacker], list[bytes]]


def framed(name: str, counter: str, build: Callable[[Attacker, bytes], bytes], *, bypass: bool = False) -> Try:
    """The try of one frame that holds a marker."""

    def act(attacker: Attacker) -> list[bytes]:
        marker = attacker.marker()
        attacker.send(build(attacker, marker), bypass=bypass)
        return [marker]

    return Try(name, counter, act)
