"""All ways tried on machines of a wiring, with the rules of the examples or without them."""

from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.ways_out.arrivals import Arrivals, arrivals
from benchmarks.ways_out.attacker import Attacker, Try
from benchmarks.ways_out.machines import Machines, Wiring, counters_of, wired
from benchmarks.ways_out.tries import TRIES

ANSWER = "answer on the sidecar's connection"
"""Name of the one way that is allowed."""


@dataclass(frozen=True)
class Outcome:
    """Fate of a way.

    Attributes:
        name: the way.
        counter: the counter that has to count it.
        packets: number of packets sent.
        arrived: the places at which one of them arrived, at any time: "world", "sidecar".
        counted: packets by which each counter rose, without those that did not.
    """

    name: str
    counter: str
    packets: int
    arrived: frozenset[str]
    counted: dict[str, int]


def attacked(wiring: Wiring, *, rules: bool, seed: int) -> list[Outcome]:
    """The outcome of each way, the allowed one last.

    Args:
        wiring: how the inference host is attached.
        rules: whether the sidecar's host has the rules of link.nft and sidecar.nft.
        seed: of the markers.
    """
    with wired(wiring) as machines, ExitStack() as stack:
        if rules:
            for name in ("link.nft", "sidecar.nft"):
                machines.load(machines.sidecar, name)
        collected = stack.enter_context(arrivals(machines))
        attacker = Attacker(machines, collected.sidecar_port, seed, stack)
        return outcomes(machines, collected, attacker, TRIES)


def outcomes(machines: Machines, collected: Arrivals, attacker: Attacker, tries: tuple[Try, ...]) -> list[Outcome]:
    """The outcome of each way that an attacker tries, and of an answer on the sidecar's connection."""
    seen: dict[str, list[bytes]] = {"world": [], "sidecar": []}
    counters, tried = counters_of(machines.sidecar), []
    for one in tries:
        markers = one.act(attacker)
        for place, packets in collected.collected().items():
            seen[place] += packets
        before, counters = counters, counters_of(machines.sidecar)
        tried.append((one, markers, _rise(before, counters)))
    content = attacker.marker()
    answered = collected.answer(content) == content
    for place, packets in collected.collected().items():
        seen[place] += packets
    rise = _rise(counters, counters_of(machines.sidecar))
    return [
        Outcome(one.name, one.counter, len(markers), _places(markers, seen), counted) for one, markers, counted in tried
    ] + [Outcome(ANSWER, "answers", 1, frozenset({"sidecar"} if answered else set()), rise)]


def _rise(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items() if count > before[name]}


def _places(markers: list[bytes], seen: dict[str, list[bytes]]) -> frozenset[str]:
    """The places at which a marker was seen."""
    return frozenset(
        place for place, packets in seen.items() if any(marker in packet for packet in packets for marker in markers)
    )
