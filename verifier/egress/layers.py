"""The layers of a frame, read strictly: every byte has a declared place, or the frame is unexplained.

A usual library of dissectors skips what it does not know; here that would be where data hides.
"""

import struct
from typing import NamedTuple

from weightwarden.verifier.egress.frames import Frame

IPV4, IPV6, ARP = b"\x08\x00", b"\x86\xdd", b"\x08\x06"
TCP, UDP, ICMPV6 = 6, 17, 58
FIN, SYN, RST, ACK, URG = 0x01, 0x02, 0x04, 0x10, 0x20
SHORTEST_FRAME = 60
"""Bytes to which Ethernet pads a shorter frame."""
_IPV4_HEADER = struct.Struct(">BBHHHBBH")
_IPV6_HEADER = struct.Struct(">IHBB")
_TCP_HEADER = struct.Struct(">HHIIHHHH")
_UDP_HEADER = struct.Struct(">HHHH")


class Packet(NamedTuple):
    """The packet of a frame, with a payload of one of the declared protocols.

    Attributes:
        target_mac: destination of the frame.
        source_mac: source of the frame.
        source: sender, 4 or 16 bytes; empty for ARP.
        target: receiver, 4 or 16 bytes; empty for ARP.
        protocol: number of the transport protocol; 0 for ARP.
        hop_limit: time to live.
        payload: bytes of the transport protocol, or of ARP.
    """

    target_mac: bytes
    source_mac: bytes
    source: bytes
    target: bytes
    protocol: int
    hop_limit: int
    payload: bytes


class Segment(NamedTuple):
    """A TCP segment."""

    source_port: int
    target_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    options: bytes
    payload: bytes


class Datagram(NamedTuple):
    """A UDP datagram."""

    source_port: int
    target_port: int
    payload: bytes


def packet_of(frame: Frame, *, checks_checksums: bool) -> Packet | str:
    """The packet of a frame, or the kind of what is unexplained about it."""
    data = frame.data
    if frame.length != len(data):
        return "frame cut by the capture"
    kind = data[12:14]
    if kind == IPV4:
        found = _ipv4(data, checks_checksums)
    elif kind == IPV6:
        found = _ipv6(data)
    elif kind == ARP:
        found = Packet(data[:6], data[6:12], b"", b"", 0, 0, data[14:42])
    else:
        return "frame of another type"
    if isinstance(found, str):
        return found
    start = {IPV4: 34, IPV6: 54, ARP: 14}[kind]
    rest = data[start + len(found.payload) :]
    if rest and (len(data) > SHORTEST_FRAME or rest.strip(b"\0")):
        return "bytes after the packet"
    return found


def _ipv4(data: bytes, checks_checksums: bool) -> Packet | str:
    if len(data) < 34:
        return "malformed header"
    version, _, total, _, fragment, hop_limit, protocol, _ = _IPV4_HEADER.unpack_from(data, 14)
    if version != 0x45:
        return "IP options" if version >> 4 == 4 else "malformed header"
    if fragment & 0x3FFF:
        return "IP fragment"
    end = 14 + total
    if not 34 <= end <= len(data):
        return "malformed header"
    if checks_checksums and int.from_bytes(data[14:34], "big") % 0xFFFF:
        return "wrong checksum"
    return Packet(data[:6], data[6:12], data[26:30], data[30:34], protocol, hop_limit, data[34:end])


def _ipv6(data: bytes) -> Packet | str:
    if len(data) < 54:
        return "malformed header"
    first, length, following, hop_limit = _IPV6_HEADER.unpack_from(data, 14)
    end = 54 + length
    if first >> 28 != 6 or end > len(data):
        return "malformed header"
    if following not in (TCP, UDP, ICMPV6):
        return "IPv6 extension header" if following in (0, 43, 44, 50, 51, 60, 135, 139, 140) else "other protocol"
    return Packet(data[:6], data[6:12], data[22:38], data[38:54], following, hop_limit, data[54:end])


def checksum_holds(packet: Packet) -> bool:
    """True if the checksum of a transport protocol's payload is right, with the addresses that it covers."""
    payload = packet.payload
    total = int.from_bytes(packet.source + packet.target, "big") + packet.protocol + len(payload)
    value = int.from_bytes(payload, "big")
    return (total + (value << 8 if len(payload) & 1 else value)) % 0xFFFF == 0


def segment_of(packet: Packet) -> Segment | None:
    """The TCP segment of a packet, or None if its header is malformed."""
    payload = packet.payload
    if len(payload) < 20:
        return None
    source, target, sequence, acknowledgement, bits, window, _, _ = _TCP_HEADER.unpack_from(payload)
    start = (bits >> 12) * 4
    if not 20 <= start <= len(payload):
        return None
    return Segment(source, target, sequence, acknowledgement, bits & 0x1FF, window, payload[20:start], payload[start:])


def datagram_of(packet: Packet) -> Datagram | None:
    """The UDP datagram of a packet, or None if its header is malformed."""
    payload = packet.payload
    if len(payload) < 8:
        return None
    source, target, length, _ = _UDP_HEADER.unpack_from(payload)
    return Datagram(source, target, payload[8:]) if length == len(payload) else None
