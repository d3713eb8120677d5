"""The rule sets of the network, against a root process of the inference host, in namespaces of the tests' own."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from benchmarks.ways_out.arrivals import Arrivals, arrivals
from benchmarks.ways_out.attack import ANSWER, Outcome, attacked, outcomes
from benchmarks.ways_out.attacker import Attacker
from benchmarks.ways_out.machines import Machines, Wiring, counters_of, wired
from benchmarks.ways_out.tries import TRIES
from tests.network_namespaces import require_network_namespaces

Outcomes = dict[tuple[Wiring, bool], list[Outcome]]


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    require_network_namespaces()


@pytest.fixture(scope="module")
def tried(namespaces: None) -> Outcomes:
    """The outcomes by wiring, without rules and with them."""
    return {(wiring, rules): attacked(wiring, rules=rules, seed=1) for wiring in Wiring for rules in (False, True)}


@contextmanager
def _attack(
    *, on_sidecar: tuple[str, ...] = (), on_server: tuple[str, ...] = ()
) -> Iterator[tuple[Machines, Arrivals, Attacker]]:
    """Machines on a link of their own, with rule sets loaded."""
    with wired(Wiring.LINK) as machines, ExitStack() as stack:
        for machine, names in ((machines.sidecar, on_sidecar), (machines.server, on_server)):
            for name in names:
                machines.load(machine, name)
        collected = stack.enter_context(arrivals(machines))
        yield machines, collected, Attacker(machines, collected.sidecar_port, 2, stack)


def _ways(outcomes: list[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.name != ANSWER]


def test_every_way_leads_somewhere_without_rules(tried: Outcomes) -> None:
    arrived = {one.name for wiring in Wiring for one in tried[wiring, False] if one.arrived}
    assert {one.name for one in TRIES} - arrived == set()
    assert len({one.name for one in TRIES}) == len(TRIES)


@pytest.mark.parametrize("wiring", Wiring)
def test_nothing_arrives_with_rules(tried: Outcomes, wiring: Wiring) -> None:
    assert {one.name: one.arrived for one in _ways(tried[wiring, True]) if one.arrived} == {}


@pytest.mark.parametrize("wiring", Wiring)
def test_every_packet_is_counted_in_its_class(tried: Outcomes, wiring: Wiring) -> None:
    for one in _ways(tried[wiring, True]):
        assert one.counted.get(one.counter, 0) >= one.packets, one


@pytest.mark.parametrize("wiring", Wiring)
@pytest.mark.parametrize("rules", [False, True])
def test_the_sidecar_gets_its_answers(tried: Outcomes, wiring: Wiring, rules: bool) -> None:
    assert tried[wiring, rules][-1].name == ANSWER
    assert tried[wiring, rules][-1].arrived == {"sidecar"}


def test_the_rules_of_the_link_alone_hold_but_for_segments_of_no_connection() -> None:
    with _attack(on_sidecar=("link.nft",)) as (machines, collected, attacker):
        arrived = {
            one.name: one.counter for one in _ways(outcomes(machines, collected, attacker, TRIES)) if one.arrived
        }
    assert set(arrived.values()) == {"unsolicited"}


ON_THE_CONNECTION = ("unsolicited", "ip_options", "other_source_macs", "broadcasts")
"""Counters of ways that send a segment between the ports of the sidecar's connection."""


def test_the_rules_of_the_sidecars_host_alone_let_nothing_through_to_the_world() -> None:
    with _attack(on_sidecar=("sidecar.nft",)) as (machines, collected, attacker):
        found = _ways(outcomes(machines, collected, attacker, TRIES))
    assert all("world" not in one.arrived for one in found)
    arrived = {one.counter for one in found if one.arrived}
    assert arrived >= {"arp_frames", "other_ethertypes", "vlan_frames"}
    # Connection tracking takes some segments for those of the sidecar's own connection; its TCP drops them.
    assert arrived <= {"arp_frames", "other_ethertypes", "vlan_frames", *ON_THE_CONNECTION}


def test_mutilated_packets_are_dropped_and_counted() -> None:
    lengths = (0, 1, 12, 20, 30)

    with _attack(on_sidecar=("link.nft", "sidecar.nft")) as (machines, collected, attacker):
        before = counters_of(machines.sidecar)
        whole = attacker.answer(attacker.marker())
        for packet in (*(whole[:length] for length in lengths), b"\x65" + whole[1:]):
            attacker.send(attacker.to_sidecar(packet))
        collected.collected()
        after = counters_of(machines.sidecar)
    dropped = {name: count - before[name] for name, count in after.items() if count > before[name]}
    assert dropped.pop("answers") == dropped.pop("connection_segments") == dropped.pop("requests") == 1  # the barrier
    assert sum(dropped.values()) == len(lengths) + 1
    assert dropped["malformed"] >= 4


def test_nothing_is_sent_to_the_inference_host_but_requests() -> None:
    with _attack(on_sidecar=("link.nft", "sidecar.nft")) as (machines, _, _):
        before = counters_of(machines.sidecar)["other_to_inference"]
        with (
            machines.sidecar.entered(),
            socket.socket(type=socket.SOCK_DGRAM) as opened,
            pytest.raises(PermissionError),
        ):
            opened.sendto(b"metrics", (str(machines.site.inference_address), 4433))
        assert counters_of(machines.sidecar)["other_to_inference"] == before + 1


def test_rules_on_the_inference_host_hold_until_root_flushes_them() -> None:
    with _attack(on_server=("inference.nft",)) as (machines, collected, attacker):
        held = _ways(outcomes(machines, collected, attacker, TRIES))
        counted = counters_of(machines.server)
        machines.server.run("nft", "flush", "ruleset")
        flushed = _ways(outcomes(machines, collected, attacker, TRIES))
    assert {one.name: one.counter for one in held if one.arrived and one.counter != "unsolicited"} == {}
    assert all(counted[one.counter] for one in held if one.counter != "unsolicited")
    assert sum(bool(one.arrived) for one in flushed) > 0.9 * len(TRIES)


def test_permanent_neighbours_need_neither_arp_nor_ipv6() -> None:
    with wired(Wiring.LINK) as machines, ExitStack() as stack:
        site = machines.site
        for machine, device, other, hardware in (
            (machines.sidecar, site.inference_link, site.inference_address, site.inference_mac),
            (machines.server, site.sidecar_link, site.sidecar_address, site.sidecar_mac),
        ):
            machine.run("ip", "link", "set", device, "arp", "off", "multicast", "off")  # which forgets all neighbours
            known = (str(other), "lladdr", hardware.hex(":"), "dev", device, "nud", "permanent")
            machine.run("ip", "neighbour", "add", *known)
        for name in ("link.nft", "sidecar.nft"):
            machines.load(machines.sidecar, name)
        collected = stack.enter_context(arrivals(machines))
        assert collected.answer(bytes(100_000)) == bytes(100_000)
        counters = counters_of(machines.sidecar)
        passed = {name for name, packets in counters.items() if packets}
        assert passed == {"answers", "connection_segments", "requests"}
        assert counters["answers"] == counters["connection_segments"]


def test_a_capture_on_the_device_has_what_the_rules_drop() -> None:
    every_frame = 0x0003
    with _attack(on_sidecar=("link.nft", "sidecar.nft")) as (machines, collected, attacker):
        with machines.sidecar.entered():
            capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every_frame))
        with capture:
            capture.bind((machines.site.inference_link, every_frame))
            capture.setblocking(False)
            markers = [marker for one in TRIES for marker in one.act(attacker)]
            collected.collected()
            captured = b"".join(iter(lambda: _next(capture), b""))
    assert [marker for marker in markers if marker not in captured] == []


def _next(capture: socket.socket) -> bytes:
    try:
        return capture.recv(1 << 16)
    except BlockingIOError:
        return b""


def test_loading_again_replaces_the_rules() -> None:
    tables = ("netdev", "weightwarden-link"), ("inet", "weightwarden-sidecar")
    with wired(Wiring.LINK) as machines:
        for name in ("link.nft", "sidecar.nft") * 2:
            machines.load(machines.sidecar, name)
        for family, table in tables:  # as docs/network.md reads them
            assert "counter" in machines.sidecar.run("nft", "--json", "list", "counters", "table", family, table)
        listed = machines.sidecar.run("nft", "list", "ruleset")
        assert listed.count("policy drop") == 1
        assert listed.count("hook input") == 1
