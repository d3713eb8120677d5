"""Packets of any process, by sockets of the kernel."""

import socket
from ipaddress import IPv4Address

from benchmarks.ways_out.attacker import Attacker, Try
from benchmarks.ways_out.frames import icmp
from benchmarks.ways_out.site import BEYOND, CLIENTS_SIDE, WORLD

_DNS = "dns_packets"


def _connected(name: str, counter: str, address: IPv4Address | None, port: int) -> Try:
    """A TCP connection; without an address to the sidecar's on the link."""
    return Try(name, counter, lambda attacker: [attacker.connect(address or attacker.site.sidecar_address, port)])


def _datagram(name: str, counter: str, address: IPv4Address | None, port: int, length: int = 0) -> Try:
    """A UDP datagram that ends with a marker; without an address to the sidecar's on the link."""

    def act(attacker: Attacker) -> list[bytes]:
        marker = attacker.marker()
        with attacker.opened(socket.SOCK_DGRAM) as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            opened.sendto(bytes(length) + marker, (str(address or attacker.site.sidecar_address), port))
        return [marker]

    return Try(name, counter, act)


def _raw(name: str, counter: str, protocol: int, address: IPv4Address | None, header: bytes = b"") -> Try:
    """A packet of any protocol, by a raw socket."""

    def act(attacker: Attacker) -> list[bytes]:
        marker = attacker.marker()
        packet = icmp(8, marker) if protocol == socket.IPPROTO_ICMP else header + marker
        with attacker.opened(socket.SOCK_RAW, protocol) as opened:
            opened.sendto(packet, (str(address or attacker.site.sidecar_address), 0))
        return [marker]

    return Try(name, counter, act)


SOCKETS = (
    _connected("TCP connection to the world", "other_destination_addresses", WORLD, 443),
    _connected("TCP connection to an address behind the world", "other_destination_addresses", BEYOND, 443),
    _connected(
        "TCP connection to the sidecar's address for clients", "other_destination_addresses", CLIENTS_SIDE, 8443
    ),
    _connected("TCP connection to the sidecar's port for clients", "connections_opened", None, 8443),
    _connected("TCP connection to the sidecar's metrics", "connections_opened", None, 9464),
    _connected("TCP connection to the sidecar's SSH", "connections_opened", None, 22),
    _connected("DNS over TCP, to the world", _DNS, WORLD, 53),
    _datagram("DNS, to the world", _DNS, WORLD, 53),
    _datagram("DNS, to the sidecar's host", _DNS, None, 53),
    _datagram("UDP to the world", "udp_packets", WORLD, 4433),
    _datagram("UDP to an address behind the world", "udp_packets", BEYOND, 4433),
    _datagram("UDP to the sidecar's host", "udp_packets", None, 514),
    _datagram("UDP, a jumbo frame of 8 kB", "udp_packets", WORLD, 4433, length=8000),
    _datagram("UDP, 20 kB in fragments", "fragment_packets", WORLD, 4433, length=20_000),
    _datagram("UDP broadcast", "broadcasts", IPv4Address("255.255.255.255"), 4433),
    _datagram("UDP broadcast of the subnet", "broadcasts", IPv4Address("10.0.0.255"), 4433),
    _datagram("UDP multicast to all hosts", "multicasts", IPv4Address("224.0.0.1"), 4433),
    _datagram("mDNS", "multicasts", IPv4Address("224.0.0.251"), 5353),
    _raw("ICMP echo to the world", "icmp_packets", socket.IPPROTO_ICMP, WORLD),
    _raw("ICMP echo to the sidecar's host", "icmp_packets", socket.IPPROTO_ICMP, None),
    _raw("SCTP", "other_protocols", socket.IPPROTO_SCTP, WORLD),
    _raw("GRE", "other_protocols", socket.IPPROTO_GRE, WORLD, header=b"\0\0\x88\xb5"),
    _raw("ESP", "other_protocols", socket.IPPROTO_ESP, WORLD),
    _raw("IP protocol 253, to the world", "other_protocols", 253, WORLD),
    _raw("IP protocol 253, to the sidecar's host", "other_protocols", 253, None),
)
