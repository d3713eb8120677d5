"""The names and addresses of `examples/network/site.nft`, and those of the world that the server must not reach."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from benchmarks.repository import ROOT
from benchmarks.ways_out.frames import mac

RULES = ROOT / "examples" / "network"
"""Folder of the rule sets."""
WORLD = IPv4Address("192.0.2.2")
WORLD6 = IPv6Address("2001:db8:1::2")
WORLD_MAC = mac("02:00:00:00:00:03")
CLIENTS_SIDE = IPv4Address("192.0.2.1")
"""The sidecar's address in the world, at which clients reach it."""
CLIENTS_SIDE6 = IPv6Address("2001:db8:1::1")
BEYOND = IPv4Address("198.51.100.7")
"""An address to which the sidecar's host would have to find the way, through the world."""
SIDECAR6, INFERENCE6 = IPv6Address("fe80::1"), IPv6Address("fe80::2")


@dataclass(frozen=True)
class Site:
    """The link between the inference host and the sidecar's host.

    Attributes:
        inference_link: device of the sidecar's host.
        sidecar_link: device of the inference host.
        inference_mac: hardware address of the inference host.
        inference_address: its address.
        inference_port: the port of the inference server.
        sidecar_mac: hardware address of the sidecar's host.
        sidecar_address: its address on the link.
    """

    inference_link: str
    sidecar_link: str
    inference_mac: bytes
    inference_address: IPv4Address
    inference_port: int
    sidecar_mac: bytes
    sidecar_address: IPv4Address

    @classmethod
    def read(cls, path: Path = RULES / "site.nft") -> "Site":
        """The site of a file of definitions."""
        found = dict(re.findall(r'^define (\w+) = "?([^"\s]+)', path.read_text(encoding="utf-8"), re.MULTILINE))
        return cls(
            inference_link=found["inference_link"],
            sidecar_link=found["sidecar_link"],
            inference_mac=mac(found["inference_mac"]),
            inference_address=IPv4Address(found["inference_address"]),
            inference_port=int(found["inference_port"]),
            sidecar_mac=mac(found["sidecar_mac"]),
            sidecar_address=IPv4Address(found["sidecar_address"]),
        )
