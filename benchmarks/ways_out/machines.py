"""Three machines in namespaces: the inference host, the sidecar's host, and the world behind it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.ways_out.namespaces import Namespace
from benchmarks.ways_out.site import (
    CLIENTS_SIDE,
    CLIENTS_SIDE6,
    INFERENCE6,
    RULES,
    SIDECAR6,
    WORLD,
    WORLD6,
    WORLD_MAC,
    Site,
)

_MTU = "9000"
_BRIDGE = "switch0"
_WORLD_LINK = "world0"


class Wiring(Enum):
    """Attachment of the inference host to the sidecar's host, which routes whatever it gets, as a careless one would.

    Attributes:
        LINK: a link of its own.
        SWITCH: a port of a bridge, and the world is another: on one segment with the inference host.
    """

    LINK = "own link"
    SWITCH = "switch"


@dataclass(frozen=True)
class Machines:
    """The machines, wired and without rules.

    Attributes:
        wiring: how they are wired.
        site: names and addresses of the link.
        server: the inference host.
        sidecar: the sidecar's host.
        world: what is behind it.
    """

    wiring: Wiring
    site: Site
    server: Namespace
    sidecar: Namespace
    world: Namespace
    _folder: Path = field(repr=False)

    @property
    def world_link(self) -> str:
        """Device of the sidecar's host towards the world."""
        return _WORLD_LINK

    def load(self, machine: Namespace, name: str) -> None:
        """Load a rule set of the examples on a machine, with `nft` and the file as it is."""
        machine.run("nft", "--includepath", str(self._folder), "--file", str(RULES / name))


@contextmanager
def wired(wiring: Wiring) -> Iterator[Machines]:
    """The machines, until the block ends."""
    site = Site.read()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="weightwarden-ways-out-")))
        machines = []
        for _ in range(3):
            machines.append(Namespace())
            stack.callback(machines[-1].close)
        server, sidecar, world = machines
        _write_site(folder, wiring)
        _prepare(server, sidecar, world)
        _connect(site, wiring, server, sidecar, world)
        yield Machines(wiring, site, server, sidecar, world, folder)


def counters_of(machine: Namespace) -> dict[str, int]:
    """Packets that the named counters of a machine's rules have counted."""
    listed = json.loads(machine.run("nft", "--json", "list", "counters"))["nftables"]
    return {one["counter"]["name"]: one["counter"]["packets"] for one in listed if "counter" in one}


def _write_site(folder: Path, wiring: Wiring) -> None:
    """Write the files that the rule sets include: the examples, but for the interface with the sidecar's address."""
    for name in ("site.nft", "counters.nft", "classes.nft"):
        text = (RULES / name).read_text(encoding="utf-8")
        if wiring is Wiring.SWITCH:
            text = text.replace(
                'define inference_interface = "inference0"', f'define inference_interface = "{_BRIDGE}"'
            )
        (folder / name).write_text(text, encoding="utf-8")


def _prepare(server: Namespace, sidecar: Namespace, world: Namespace) -> None:
    """The kernels' settings: the server's kernel sends nothing by itself, and the sidecar's host routes everything."""
    server.set("net/ipv6/conf/default/disable_ipv6", 1)
    for machine in (sidecar, world):
        machine.set("net/ipv6/conf/default/accept_dad", 0)
        machine.set("net/ipv4/conf/all/rp_filter", 0)
        machine.set("net/ipv4/conf/default/rp_filter", 0)
    sidecar.set("net/ipv4/ip_forward", 1)
    sidecar.set("net/ipv6/conf/all/forwarding", 1)
    for machine in (server, sidecar, world):
        machine.run("ip", "link", "set", "lo", "up")


def _connect(site: Site, wiring: Wiring, server: Namespace, sidecar: Namespace, world: Namespace) -> None:
    own, theirs = _text(site.sidecar_mac), "02:00:00:00:00:04"
    if wiring is Wiring.SWITCH:
        sidecar.run("ip", "link", "add", _BRIDGE, "mtu", _MTU, "address", own, "type", "bridge")
        sidecar.run("ip", "link", "set", _BRIDGE, "up")
        own, theirs = "02:00:00:00:00:05", "02:00:00:00:00:06"
    _pair(sidecar, site.inference_link, own, server, site.sidecar_link, _text(site.inference_mac))
    _pair(sidecar, _WORLD_LINK, theirs, world, "sidecar0", _text(WORLD_MAC))
    inside, outside = site.inference_link, _WORLD_LINK
    if wiring is Wiring.SWITCH:
        for port in (inside, outside):
            sidecar.run("ip", "link", "set", port, "master", _BRIDGE)
        inside = outside = _BRIDGE
        theirs = _text(site.sidecar_mac)
    for address in (f"{site.sidecar_address}/24", f"{SIDECAR6}/64"):
        sidecar.run("ip", "address", "add", address, "dev", inside)
    for address in (f"{CLIENTS_SIDE}/24", f"{CLIENTS_SIDE6}/64"):
        sidecar.run("ip", "address", "add", address, "dev", outside)
    server.run("ip", "address", "add", f"{site.inference_address}/24", "dev", site.sidecar_link)
    for address in (f"{WORLD}/24", f"{WORLD6}/64"):
        world.run("ip", "address", "add", address, "dev", "sidecar0")
    _neighbours(server, site.sidecar_link, {str(site.sidecar_address): _text(site.sidecar_mac)})
    _neighbours(sidecar, inside, {str(a): _text(site.inference_mac) for a in (site.inference_address, INFERENCE6)})
    _neighbours(sidecar, outside, {str(a): _text(WORLD_MAC) for a in (WORLD, WORLD6)})
    _neighbours(world, "sidecar0", {str(a): theirs for a in (CLIENTS_SIDE, CLIENTS_SIDE6)})
    server.run("ip", "route", "add", "default", "via", str(site.sidecar_address), "dev", site.sidecar_link)
    sidecar.run("ip", "route", "add", "default", "via", str(WORLD), "dev", outside)
    world.run("ip", "route", "add", "default", "via", str(CLIENTS_SIDE), "dev", "sidecar0")


def _pair(one: Namespace, device: str, address: str, other: Namespace, peer: str, peer_address: str) -> None:
    """A cable between two machines."""
    ends = ("mtu", _MTU, "address", address), ("mtu", _MTU, "address", peer_address)
    one.run("ip", "link", "add", device, *ends[0], "type", "veth", "peer", "name", peer, *ends[1], "netns", other.path)
    for machine, name in ((one, device), (other, peer)):
        machine.run("ip", "link", "set", name, "up")


def _neighbours(machine: Namespace, device: str, known: dict[str, str]) -> None:
    for address, hardware in known.items():
        machine.run("ip", "neighbour", "replace", address, "lladdr", hardware, "dev", device, "nud", "permanent")


def _text(address: bytes) -> str:
    return address.hex(":")
