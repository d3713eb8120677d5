"""Address resolution of the declared hosts (ARP and IPv6 neighbour discovery), with exactly the declared content."""

from collections import deque

from weightwarden.verifier.egress.layers import ICMPV6, Packet, checksum_holds
from weightwarden.verifier.egress.link import Link

MAX_PER_MINUTE = 60
"""Largest number of resolutions that a host sends in a minute."""
BROADCAST, UNSET = b"\xff" * 6, bytes(6)
_ARP_HEADER = b"\x00\x01\x08\x00\x06\x04\x00"
_ARP_KIND, _ND_KIND = "ARP of other content", "ICMPv6"


class Neighbours:
    """The link's address resolution: which frames of it are as declared, and at which rate they come."""

    def __init__(self, link: Link) -> None:
        self._hosts = link.hosts
        self._checks_checksums = link.checks_checksums
        self._macs: dict[bytes, bytes] = {}
        self._times: dict[bytes, deque[float]] = {}

    def pins(self, address: bytes, mac: bytes) -> bool:
        """True if the address has this link address, as in its first frame."""
        return self._macs.setdefault(address, mac) == mac

    def agree(self, packet: Packet) -> bool:
        """True if the link addresses of a packet are those of its sender and its receiver, a host or a group."""
        if not self.pins(packet.source, packet.source_mac):
            return False
        target, mac = packet.target, packet.target_mac
        if len(target) == 4 and target[0] >> 4 == 14:
            return mac == b"\x01\x00\x5e" + bytes([target[1] & 0x7F]) + target[2:]
        if len(target) == 16 and target[0] == 0xFF:
            return mac == b"\x33\x33" + target[12:]
        return self.pins(target, mac)

    def fault_of_arp(self, packet: Packet, time: float) -> str | None:
        """The kind of what is unexplained about an ARP packet, or None."""
        content = packet.payload
        if len(content) != 28 or content[:7] != _ARP_HEADER or content[7] not in (1, 2):
            return _ARP_KIND
        sender_mac, sender, target_mac, target = content[8:14], content[14:18], content[18:24], content[24:28]
        if not {sender, target} <= self._hosts:
            return "ARP for another address"
        asks = content[7] == 1
        known = self._macs.get(target)
        receivers = {known, BROADCAST} if asks else {known}
        if sender_mac != packet.source_mac or packet.target_mac not in receivers | ({target_mac} - {UNSET}):
            return _ARP_KIND
        if target_mac not in ({UNSET, known} if asks else {known, packet.target_mac}):
            return _ARP_KIND
        if not self.pins(sender, sender_mac) or (not asks and not self.pins(target, target_mac)):
            return "another link address"
        return self._fault_of_rate(sender, time)

    def fault_of_icmpv6(self, packet: Packet, time: float) -> str | None:
        """The kind of what is unexplained about an ICMPv6 packet, or None: only solicitations and advertisements."""
        content = packet.payload
        if packet.protocol != ICMPV6 or len(content) not in (24, 32) or content[0] not in (135, 136) or content[1]:
            return _ND_KIND
        if packet.hop_limit != 255 or packet.source not in self._hosts:
            return _ND_KIND
        if self._checks_checksums and not checksum_holds(packet):
            return "wrong checksum"
        subject, solicits = content[8:24], content[0] == 135
        reserved = int.from_bytes(content[4:8], "big") & (0xFFFFFFFF if solicits else 0x1FFFFFFF)
        if reserved or subject not in self._hosts or (not solicits and subject != packet.source):
            return _ND_KIND
        option = b"\x01\x01" if solicits else b"\x02\x01"
        if content[24:] not in (b"", option + packet.source_mac):
            return _ND_KIND
        multicast = b"\xff\x02" + bytes(9) + b"\x01\xff" + subject[13:]
        if packet.target == multicast and solicits:
            arrives = packet.target_mac == b"\x33\x33" + multicast[12:]
        else:
            arrives = packet.target in self._hosts and self.pins(packet.target, packet.target_mac)
        if not arrives:
            return _ND_KIND
        if not self.pins(packet.source, packet.source_mac):
            return "another link address"
        return self._fault_of_rate(packet.source, time)

    def _fault_of_rate(self, sender: bytes, time: float) -> str | None:
        times = self._times.setdefault(sender, deque(maxlen=MAX_PER_MINUTE))
        if len(times) == MAX_PER_MINUTE and time - times[0] < 60:
            return "too many address resolutions"
        times.append(time)
        return None
