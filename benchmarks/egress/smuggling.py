"""Ways to smuggle bytes past the sidecar on its link, each with the kind of frames that finds it."""

import struct
from collections.abc import Callable

from benchmarks.egress.wire import (
    GROUP,
    PORT,
    SERVER,
    SIDECAR,
    Tcp,
    Wire,
    answer_parts,
    arp,
    ethernet,
    ipv4,
    tcp,
    udp,
)
from weightwarden.verifier.egress.layers import ACK, FIN, RST, SYN, URG

SECRET = b"weights!"
Smuggle = Callable[[Wire, Tcp], None]
PROMPT, IDS = [1, 9690, 198], [100 + at for at in range(12)]
"""A request, and ids that its answer may have; its seed is 1."""


def udp_datagram(wire: Wire, _: Tcp) -> None:
    wire.put(udp(SERVER, SIDECAR, 53, SECRET))


def icmp_echo(wire: Wire, _: Tcp) -> None:
    wire.put(ipv4(SERVER, SIDECAR, 1, b"\x08\x00\x00\x00\x00\x00\x00\x00" + SECRET))


def strange_ethertype(wire: Wire, _: Tcp) -> None:
    wire.put(ethernet(SERVER, SIDECAR, 0x88B5, SECRET))


def vlan(wire: Wire, _: Tcp) -> None:
    inner = udp(SERVER, SIDECAR, 53, SECRET)
    wire.put(inner[:12] + b"\x81\x00\x00\x2a" + inner[12:])


def arp_padding(wire: Wire, _: Tcp) -> None:
    wire.put(arp(False, padding=SECRET + bytes(10)))


def arp_for_another_address(wire: Wire, _: Tcp) -> None:
    wire.put(arp(True, target="10.9.77.77"))


def many_resolutions(wire: Wire, connection: Tcp) -> None:
    for _ in range(70):
        wire.put(arp(False))


def another_link_address(wire: Wire, connection: Tcp) -> None:
    connection.segment(False, ACK)
    frame = wire.frames.pop()
    wire.put(frame.data[:6] + b"\x02" + SECRET[:5] + frame.data[12:])


def ip_options(wire: Wire, _: Tcp) -> None:
    wire.put(ipv4(SERVER, SIDECAR, 6, bytes(20), options=b"\x94\x08" + SECRET[:6]))


def ip_fragment(wire: Wire, _: Tcp) -> None:
    wire.put(ipv4(SERVER, SIDECAR, 6, SECRET, fragment=0x2000))


def trailing_bytes(wire: Wire, connection: Tcp) -> None:
    connection.segment(False, ACK)
    frame = wire.frames.pop()
    wire.put(frame.data[: 14 + 40] + SECRET)


def opened_by_the_server(wire: Wire, _: Tcp) -> None:
    wire.put(tcp(SERVER, SIDECAR, (PORT, 22), 1, 0, SYN))


def opened_to_another_port(wire: Wire, _: Tcp) -> None:
    wire.put(tcp(SERVER, SIDECAR, (40_001, 443), 1, 0, SYN))


def data_in_syn(wire: Wire, connection: Tcp) -> None:
    wire.put(tcp(SIDECAR, SERVER, (40_002, PORT), 1, 0, SYN))
    wire.put(tcp(SERVER, SIDECAR, (PORT, 40_002), 1, 2, SYN | ACK, SECRET))


def other_retransmission(wire: Wire, connection: Tcp) -> None:
    connection.segment(False, ACK, SECRET, offset=-len(SECRET))


def other_bytes_ahead(wire: Wire, connection: Tcp) -> None:
    parts = answer_parts(IDS)
    connection.ask(PROMPT, 1)
    connection.segment(False, ACK, parts[1], offset=len(parts[0]))
    connection.segment(False, ACK, parts[1].replace(b"words", b"WORDS"), offset=len(parts[0]))
    for part in parts:
        connection.send(part, upward=False)


def data_in_reset(wire: Wire, connection: Tcp) -> None:
    other = Tcp(wire, 40_003)
    other.segment(False, RST, SECRET)


def data_after_fin(wire: Wire, connection: Tcp) -> None:
    other = Tcp(wire, 40_003)
    other.segment(False, ACK | FIN)
    other.segment(False, ACK, SECRET, offset=1)


def urgent_data(wire: Wire, connection: Tcp) -> None:
    connection.segment(False, ACK | URG, SECRET)


def outside_of_the_window(wire: Wire, connection: Tcp) -> None:
    connection.segment(False, ACK, SECRET, offset=1 << 20)


def wrong_checksum(wire: Wire, connection: Tcp) -> None:
    connection.segment(False, ACK, SECRET)
    frame = wire.frames.pop()
    wire.put(frame.data[:-1] + b"?")


def without_record(wire: Wire, connection: Tcp) -> None:
    connection.ask(PROMPT, 77)
    connection.answer([1, 2, 3])


def other_request(wire: Wire, connection: Tcp) -> None:
    connection.ask(PROMPT, 1, path="/v1/embeddings")
    connection.answer([1])


def between_responses(wire: Wire, connection: Tcp) -> None:
    connection.send(SECRET, upward=False)


def blank_lines_between_responses(wire: Wire, connection: Tcp) -> None:
    connection.send(b"\r\n\r\n", upward=False)


def ipv6_extension(wire: Wire, _: Tcp) -> None:
    header = struct.pack(">IHBB", 6 << 28, 16, 60, 64) + bytes(32)
    wire.put(ethernet(SERVER, SIDECAR, 0x86DD, header + b"\x06\x00\x01\x04" + SECRET[:4] + bytes(8)))


def false_heartbeat(wire: Wire, _: Tcp) -> None:
    wire.put(udp(SERVER, GROUP, 9, SECRET))


CASES: dict[str, tuple[Smuggle, str]] = {
    "UDP datagram": (udp_datagram, "UDP datagram"),
    "ICMP payload": (icmp_echo, "ICMP"),
    "strange ethertype": (strange_ethertype, "frame of another type"),
    "VLAN": (vlan, "frame of another type"),
    "ARP padding": (arp_padding, "bytes after the packet"),
    "ARP address": (arp_for_another_address, "ARP for another address"),
    "ARP rate": (many_resolutions, "too many address resolutions"),
    "link address": (another_link_address, "another link address"),
    "IP options": (ip_options, "IP options"),
    "IP fragment": (ip_fragment, "IP fragment"),
    "trailing bytes": (trailing_bytes, "bytes after the packet"),
    "server's connection": (opened_by_the_server, "connection that the sidecar did not open"),
    "another port": (opened_to_another_port, "TCP between other ports"),
    "data in SYN": (data_in_syn, "data in the opening of a connection"),
    "retransmission": (other_retransmission, "retransmission with other bytes"),
    "out of order": (other_bytes_ahead, "retransmission with other bytes"),
    "data in RST": (data_in_reset, "data in a reset"),
    "data after FIN": (data_after_fin, "bytes after the end of a stream"),
    "urgent data": (urgent_data, "urgent data"),
    "window": (outside_of_the_window, "bytes outside of the receive window"),
    "checksum": (wrong_checksum, "wrong checksum"),
    "no record": (without_record, "completion without a record"),
    "other request": (other_request, "request that the sidecar does not send"),
    "between responses": (between_responses, "connection that is no HTTP"),
    "blank lines": (blank_lines_between_responses, "connection that is no HTTP"),
    "IPv6 extension header": (ipv6_extension, "IPv6 extension header"),
    "heartbeat": (false_heartbeat, "UDP datagram"),
}
"""Each way, and the kind of its unexplained frames. The connection is an open one, without an exchange under way."""
