"""Address resolution on an IPv6 link, and connections over it."""

import struct
from ipaddress import ip_address

import pytest

from benchmarks.egress.wire import LINK, SERVER_MAC, SIDECAR_MAC, Wire, arp, internet_checksum, tcp
from tests.verifier.egress.examples import accounted
from weightwarden.verifier.egress.layers import ACK, SYN
from weightwarden.verifier.egress.link import Endpoint, Link

SIDECAR, SERVER = "fd00::1", "fd00::2"
LINK_6 = Link(
    sidecars=frozenset({ip_address(SIDECAR).packed}),
    servers=frozenset({Endpoint.parse(f"[{SERVER}]:8000")}),
)
MULTICAST = "ff02::1:ff00:2"


def ipv6(
    macs: bytes, source: str, target: str, protocol: int, payload: bytes, checksum_at: int, hops: int = 255
) -> bytes:
    addresses = ip_address(source).packed + ip_address(target).packed
    pseudo = addresses + struct.pack(">IHBB", len(payload), 0, 0, protocol)
    checksum = internet_checksum(pseudo + payload).to_bytes(2, "big")
    payload = payload[:checksum_at] + checksum + payload[checksum_at + 2 :]
    return macs + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(payload), protocol, hops) + addresses + payload


def solicitation(option: bytes = b"\x01\x01" + SIDECAR_MAC, subject: str = SERVER, **more: int) -> bytes:
    content = b"\x87\x00\x00\x00" + bytes(4) + ip_address(subject).packed + option
    return ipv6(b"\x33\x33\xff\x00\x00\x02" + SIDECAR_MAC, SIDECAR, MULTICAST, 58, content, 2, **more)


def advertisement(option: bytes = b"\x02\x01" + SERVER_MAC, flags: int = 0x60000000) -> bytes:
    content = b"\x88\x00\x00\x00" + flags.to_bytes(4, "big") + ip_address(SERVER).packed + option
    return ipv6(SIDECAR_MAC + SERVER_MAC, SERVER, SIDECAR, 58, content, 2)


def kinds(*frames: bytes, link: Link = LINK_6) -> list[str]:
    wire = Wire()
    for frame in frames:
        wire.put(frame)
    return [one.name for one in accounted(wire.frames, link=link).unexplained]


def test_neighbour_discovery_of_the_declared_addresses_is_explained() -> None:
    assert kinds(solicitation(), advertisement(), advertisement(option=b"")) == []


@pytest.mark.parametrize(
    "frame",
    [
        solicitation(option=b"\x0e\x01nonce!"),
        solicitation(option=b"\x01\x01" + b"smuggl"),
        solicitation(option=b"\x01\x01" + SIDECAR_MAC + b"\x0e\x01nonce!"),
        solicitation(subject="fd00::77:2"),
        solicitation(hops=64),
        advertisement(flags=0x60000001),
        advertisement(option=b"\x02\x01smuggl"),
        ipv6(SIDECAR_MAC + SERVER_MAC, SERVER, SIDECAR, 58, b"\x80\x00\x00\x00weights!", 2),
        ipv6(b"\x33\x33\x00\x00\x00\x02" + SERVER_MAC, SERVER, "ff02::2", 58, b"\x85\x00" + bytes(6), 2),
    ],
)
def test_other_icmpv6_is_unexplained(frame: bytes) -> None:
    assert kinds(solicitation(), advertisement(), frame) == ["ICMPv6"]


def test_another_link_address_is_unexplained() -> None:
    frame = advertisement(option=b"")
    other = frame[:6] + b"\x02\0\0\0\0\x77" + frame[12:]
    assert kinds(solicitation(), advertisement(), other) == ["another link address"]


def test_connections_over_ipv6_are_followed() -> None:
    def segment(upward: bool, flags: int) -> bytes:
        ends = (SIDECAR, SERVER) if upward else (SERVER, SIDECAR)
        macs = SERVER_MAC + SIDECAR_MAC if upward else SIDECAR_MAC + SERVER_MAC
        ports = (40_000, 8000) if upward else (8000, 40_000)
        header = struct.pack(">HHIIHHHH", *ports, 1, 2, 5 << 12 | flags, 60_000, 0, 0)
        return ipv6(macs, *ends, 6, header, 16)

    assert kinds(segment(True, SYN), segment(False, SYN | ACK)) == []
    assert kinds(segment(True, SYN), segment(False, SYN)) == ["connection that the sidecar did not open"]
    assert kinds(segment(True, SYN)[:-1] + b"?") == ["wrong checksum"]


def test_arp_with_other_content_is_unexplained() -> None:
    changed = [
        arp(False)[:14] + b"\x00\x06" + arp(False)[16:],
        arp(False).replace(b"\x00\x01\x08\x00\x06\x04\x00\x02", b"\x00\x01\x08\x00\x06\x04\x00\x09"),
        arp(True)[:32] + b"smuggl" + arp(True)[38:],
        b"\x02smugg" + arp(True)[6:],
    ]
    for frame in changed:
        assert kinds(arp(True), arp(False), frame, link=LINK) == ["ARP of other content"]
    assert kinds(arp(True), arp(False), link=LINK) == []
    short = tcp("10.9.0.2", "10.9.0.1", (8000, 1), 1, 1, ACK)[:50]
    assert kinds(short, link=LINK) == ["malformed header"]
