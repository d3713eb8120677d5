"""TCP segments that look like answers on the sidecar's connection, or nearly."""

from benchmarks.ways_out.attacker import Attacker, framed
from benchmarks.ways_out.frames import ACK, ETH_IP, FIN, PSH, RST, SYN, URG, ethernet, tcp
from benchmarks.ways_out.site import BEYOND, WORLD, WORLD_MAC

_UNUSED = 50_123
"""A port of the range from which the sidecar connects; its kernel chooses even ones first."""


def _segment(attacker: Attacker, marker: bytes, source_port: int, port: int, flags: int) -> bytes:
    site = attacker.site
    return attacker.to_sidecar(tcp(site.inference_address, site.sidecar_address, (source_port, port), flags, marker))


def _served(flags: int, port: int, attacker: Attacker, marker: bytes) -> bytes:
    return _segment(attacker, marker, attacker.site.inference_port, port, flags)


TCP = (
    framed(
        "SYN from the inference port, to a port the sidecar connects from",
        "connections_opened",
        lambda attacker, marker: _served(SYN, _UNUSED, attacker, marker),
    ),
    framed(
        "segment from the inference port to the sidecar's metrics",
        "other_sidecar_ports",
        lambda attacker, marker: _served(PSH | ACK, 9464, attacker, marker),
    ),
    framed(
        "segment from the inference port to the sidecar's port for clients",
        "other_sidecar_ports",
        lambda attacker, marker: _served(PSH | ACK, 8443, attacker, marker),
    ),
    framed(
        "segment from another port of the server",
        "other_source_ports",
        lambda attacker, marker: _segment(attacker, marker, 22, attacker.sidecar_port, PSH | ACK),
    ),
    framed(
        "segment of no connection",
        "unsolicited",
        lambda attacker, marker: _served(PSH | ACK, _UNUSED, attacker, marker),
    ),
    framed(
        "SYN and ACK that nobody asked for",
        "unsolicited",
        lambda attacker, marker: _served(SYN | ACK, _UNUSED, attacker, marker),
    ),
    framed(
        "RST of no connection, with a payload",
        "unsolicited",
        lambda attacker, marker: _served(RST, _UNUSED, attacker, marker),
    ),
    framed(
        "segment without flags",
        "malformed",
        lambda attacker, marker: _served(0, attacker.sidecar_port, attacker, marker),
    ),
    framed(
        "segment with FIN, PSH and URG",
        "malformed",
        lambda attacker, marker: _served(FIN | PSH | URG, attacker.sidecar_port, attacker, marker),
    ),
    framed(
        "answer to the world, through the sidecar's host",
        "other_destination_addresses",
        lambda attacker, marker: attacker.to_sidecar(
            tcp(attacker.site.inference_address, WORLD, (attacker.site.inference_port, 443), PSH | ACK, marker)
        ),
    ),
    framed(
        "answer in the name of the world",
        "other_source_addresses",
        lambda attacker, marker: attacker.to_sidecar(tcp(WORLD, BEYOND, (443, _UNUSED), PSH | ACK, marker)),
    ),
    framed(
        "answer from another hardware address",
        "other_source_macs",
        lambda attacker, marker: ethernet(
            attacker.site.sidecar_mac, bytes.fromhex("020000000077"), ETH_IP, attacker.answer(marker)
        ),
    ),
    framed(
        "answer to the world's hardware address",
        "other_destination_macs",
        lambda attacker, marker: ethernet(WORLD_MAC, attacker.site.inference_mac, ETH_IP, attacker.answer(marker)),
    ),
    framed(
        "answer to all hardware addresses",
        "broadcasts",
        lambda attacker, marker: ethernet(b"\xff" * 6, attacker.site.inference_mac, ETH_IP, attacker.answer(marker)),
    ),
    framed(
        "answer with IP options (a time stamp)",
        "ip_options",
        lambda attacker, marker: attacker.to_sidecar(attacker.answer(marker, options=b"\x44\x08\x05\x00\0\0\0\0")),
    ),
)
