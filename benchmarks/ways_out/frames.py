"""Ethernet frames and IP packets, field by field, as a root process may build them."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

ETH_IP, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
"""Flags of a TCP segment."""
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
"""Flags in the field of an IPv4 fragment's offset."""


def mac(text: str) -> bytes:
    """The bytes of a hardware address."""
    return bytes.fromhex(text.replace(":", ""))


def ethernet(destination: bytes, source: bytes, ethertype: int, payload: bytes) -> bytes:
    """A frame, without its checksum."""
    return destination + source + struct.pack("!H", ethertype) + payload


def ipv4(
    source: IPv4Address,
    destination: IPv4Address,
    protocol: int,
    payload: bytes,
    *,
    fragment: int = DONT_FRAGMENT,
    identification: int = 0,
    options: bytes = b"",
) -> bytes:
    """An IPv4 packet.

    Args:
        source: address of the sender.
        destination: address of the receiver.
        protocol: number of the protocol of the payload.
        payload: what follows the header.
        fragment: flags, and the fragment's offset in units of 8 bytes.
        identification: what the fragments of a packet have in common.
        options: options of the header, a multiple of 4 bytes.
    """
    words = 5 + len(options) // 4
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | words,
        0,
        4 * words + len(payload),
        identification,
        fragment,
        64,
        protocol,
        0,
        source.packed,
        destination.packed,
    )
    header += options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(source: IPv6Address, destination: IPv6Address, next_header: int, payload: bytes, *, hops: int = 255) -> bytes:
    """An IPv6 packet."""
    return (
        struct.pack("!IHBB", 0x60000000, len(payload), next_header, hops) + source.packed + destination.packed + payload
    )


def udp(source: IPv4Address, destination: IPv4Address, ports: tuple[int, int], payload: bytes) -> bytes:
    """A UDP datagram in an IPv4 packet, without checksum."""
    return ipv4(source, destination, socket.IPPROTO_UDP, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload)


def udp6(source: IPv6Address, destination: IPv6Address, ports: tuple[int, int], payload: bytes) -> bytes:
    """A UDP datagram of IPv6, without the packet's header."""
    length = 8 + len(payload)
    datagram = struct.pack("!HHHH", *ports, length, 0) + payload
    sum_ = _checksum6(source, destination, socket.IPPROTO_UDP, datagram)
    return struct.pack("!HHHH", *ports, length, sum_) + payload


def tcp(
    source: IPv4Address,
    destination: IPv4Address,
    ports: tuple[int, int],
    flags: int,
    payload: bytes,
    options: bytes = b"",
) -> bytes:
    """A TCP segment in an IPv4 packet; the options are those of IPv4."""
    segment = struct.pack("!HHIIBBHHH", *ports, 1, 1, 5 << 4, flags, 512, 0, 0) + payload
    pseudo = source.packed + destination.packed + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    return ipv4(source, destination, socket.IPPROTO_TCP, segment, options=options)


def icmp(kind: int, payload: bytes) -> bytes:
    """An ICMP message of a type, without the packet's header."""
    message = struct.pack("!BBHI", kind, 0, 0, 0) + payload
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def icmp6(source: IPv6Address, destination: IPv6Address, kind: int, body: bytes) -> bytes:
    """An ICMPv6 message in an IPv6 packet; the body begins behind the checksum."""
    message = struct.pack("!BBH", kind, 0, 0) + body
    sum_ = _checksum6(source, destination, socket.IPPROTO_ICMPV6, message)
    return ipv6(source, destination, socket.IPPROTO_ICMPV6, message[:2] + struct.pack("!H", sum_) + message[4:])


def arp(operation: int, sender: tuple[bytes, IPv4Address], target: tuple[bytes, IPv4Address]) -> bytes:
    """An ARP message: 1 asks, 2 answers."""
    header = struct.pack("!HHBBH", 1, ETH_IP, 6, 4, operation)
    return header + sender[0] + sender[1].packed + target[0] + target[1].packed


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _checksum6(source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes) -> int:
    return checksum(source.packed + destination.packed + struct.pack("!II", len(payload), protocol) + payload)
