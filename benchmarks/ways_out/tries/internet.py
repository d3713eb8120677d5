"""IPv4 packets that no socket of the kernel would send."""

import socket
from ipaddress import IPv4Address

from benchmarks.ways_out.attacker import Attacker, Try, framed
from benchmarks.ways_out.frames import ETH_IP, MORE_FRAGMENTS, ethernet, icmp, ipv4, ipv6, udp
from benchmarks.ways_out.site import INFERENCE6, WORLD, WORLD6

_ALL_HOSTS_MAC = bytes.fromhex("01005e000001")
_MDNS = IPv4Address("224.0.0.251")
_CLIENT = IPv4Address("203.0.113.9")


def _in_fragments(attacker: Attacker) -> list[bytes]:
    """An answer in two fragments, so small that the first has not all of TCP's header."""
    markers = [attacker.marker() for _ in range(2)]
    first, second = (marker.ljust(16) for marker in markers)
    for content, fragment in ((first, MORE_FRAGMENTS), (second, 2)):
        packet = ipv4(
            attacker.site.inference_address,
            WORLD,
            socket.IPPROTO_TCP,
            content,
            fragment=fragment,
            identification=4711,
        )
        attacker.send(attacker.to_sidecar(packet))
    return markers


def _to_world(attacker: Attacker, marker: bytes) -> bytes:
    return attacker.to_sidecar(udp(attacker.site.inference_address, WORLD, (4433, 4433), marker))


def _icmp_error(attacker: Attacker, marker: bytes) -> bytes:
    """A message that "fragmentation is needed", about a packet of the sidecar's connection, which holds the marker."""
    site = attacker.site
    ports = attacker.sidecar_port.to_bytes(2) + site.inference_port.to_bytes(2)
    about = ipv4(site.sidecar_address, site.inference_address, socket.IPPROTO_TCP, ports + marker)
    return attacker.to_sidecar(ipv4(site.inference_address, site.sidecar_address, 1, icmp(3, about)))


INTERNET = (
    Try("TCP in two fragments", "fragment_packets", _in_fragments),
    framed(
        "UDP in the name of a client",
        "other_source_addresses",
        lambda attacker, marker: attacker.to_sidecar(udp(_CLIENT, WORLD, (4433, 4433), marker)),
    ),
    framed("UDP past the server's own queue", "udp_packets", _to_world, bypass=True),
    framed("ICMP error about the sidecar's connection", "icmp_packets", _icmp_error),
    framed(
        "IPv4 in IPv4",
        "other_protocols",
        lambda attacker, marker: attacker.to_sidecar(
            ipv4(
                attacker.site.inference_address,
                WORLD,
                4,
                udp(attacker.site.inference_address, WORLD, (4433, 4433), marker),
            )
        ),
    ),
    framed(
        "IPv6 in IPv4",
        "other_protocols",
        lambda attacker, marker: attacker.to_sidecar(
            ipv4(attacker.site.inference_address, WORLD, 41, ipv6(INFERENCE6, WORLD6, 59, marker))
        ),
    ),
    framed(
        "DHCP request",
        "broadcasts",
        lambda attacker, marker: ethernet(
            b"\xff" * 6,
            attacker.site.inference_mac,
            ETH_IP,
            udp(IPv4Address(0), IPv4Address("255.255.255.255"), (68, 67), marker),
        ),
    ),
    framed(
        "IGMP report",
        "multicasts",
        lambda attacker, marker: ethernet(
            _ALL_HOSTS_MAC,
            attacker.site.inference_mac,
            ETH_IP,
            ipv4(attacker.site.inference_address, IPv4Address("224.0.0.1"), 2, b"\x16\0\0\0" + _MDNS.packed + marker),
        ),
    ),
)
