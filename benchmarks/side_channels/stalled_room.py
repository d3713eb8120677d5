"""Requests that are turned away (429): a server that stalls the requests of one client fills the room for another."""

import numpy as np

from benchmarks.attackers.hostile_source import HostileAnswer, Said, hostile_source
from benchmarks.results.tables.side_channels import SideChannelRow
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.client import Asked, all_heard
from benchmarks.side_channels.release_control import ReleaseControl, timing_bits
from benchmarks.sidecar.token_source import FIRST_ID

ROOM = 4
STALL, PROBE = 0.8, 0.4
"""Seconds for which a stalled answer waits, and after which the other client asks."""
REST = 0.5
"""Seconds before each round, in which the room gets free."""


def measured(control: ReleaseControl, rounds: int, rng: np.random.Generator) -> SideChannelRow:
    """Stall the requests of a client, or not, and decode which at another client, who is turned away.

    With a pace the bound is what the ledger charges for the moments of the stalled answers: the room is free again
    when they have left.
    """
    symbols = rng.integers(0, 2, rounds)
    prompt = HostileAnswer([Said(FIRST_ID, " token")])
    stalled = HostileAnswer([Said(FIRST_ID, " token", STALL)])
    answers = {1 + at: stalled if symbol else prompt for at, symbol in enumerate(symbols)} | {1 + rounds: prompt}
    wrong = served = 0
    options = ("--max-concurrent", str(ROOM))
    with hostile_source(answers) as source, running_sidecar(source.url, control, *options) as sidecar:
        for at, symbol in enumerate(symbols):
            asked = [*[Asked([1 + at], 1, REST)] * ROOM, Asked([1 + rounds], 1, REST + PROBE)]
            heard = all_heard(sidecar.url, asked)
            wrong += int((heard[-1].status == 429) != bool(symbol))
            served += sum(answer.status != 429 for answer in heard)
        records = sidecar.records(served)
    return SideChannelRow(
        name="requests turned away by stalls",
        control=control.name,
        tokens=served,
        symbols=rounds,
        alphabet=2,
        wrong=wrong,
        bound_bits=None if control.pace is None else timing_bits(records),
    )
