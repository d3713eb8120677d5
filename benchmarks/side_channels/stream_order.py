"""The order of tokens of several streams of one request: log2(n!) bits a round, if the server could choose it."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.attackers.hostile_source import HostileAnswer, Said, hostile_source
from benchmarks.results.tables.side_channels import SideChannelRow
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.client import Asked, Heard, all_heard
from benchmarks.side_channels.release_control import ReleaseControl, timing_bits
from benchmarks.sidecar.token_source import FIRST_ID
from weightwarden.logger.release import Pace

STREAMS = 3
ROUND_MS, TICK_MS = 170, 150
"""Time of one token of every stream, in seconds, and a tick that holds most rounds whole."""
STEP = 0.03
"""Seconds between a stream's token and the one before it in the order."""
CONTROLS = (
    ReleaseControl(),
    ReleaseControl(tick_ms=TICK_MS),
    ReleaseControl(pace=Pace(tokens=1, milliseconds=TICK_MS)),
)


def measured(control: ReleaseControl, rounds: int, rng: np.random.Generator) -> SideChannelRow:
    """Send a random order in each round, one token of every stream, and decode it behind a sidecar.

    With ticks only rounds that leave on a single tick count: there the order is the sidecar's own, and the bound 0. A
    round on two ticks is a pause, which the bound of timing covers. With a pace all rounds count, and the bound is what
    the ledger charges for the moments.
    """
    orders = [rng.permutation(STREAMS) for _ in range(rounds)]
    answers: dict[int, HostileAnswer] = {}
    for stream in range(STREAMS):
        times = [
            at * ROUND_MS / 1000 + STEP * float(np.flatnonzero(order == stream)[0]) for at, order in enumerate(orders)
        ]
        waits = np.diff(times, prepend=0.0)
        said = [Said(FIRST_ID + at, " token", float(wait)) for at, wait in enumerate(waits)]
        answers[1 + stream] = HostileAnswer(said)
    with hostile_source(answers) as source, running_sidecar(source.url, control) as sidecar:
        [answer] = all_heard(sidecar.url, [Asked(range(1, 1 + STREAMS), rounds)])
        records = sidecar.records(STREAMS)
    heard = _rounds(answer.tokens, rounds)
    pairs = [
        ([token.stream for token in one], order.tolist())
        for one, order in itertools.islice(zip(heard, orders, strict=True), 1, None)  # in the first, streams begin
        if control.tick_ms is None or one[-1].at - one[0].at < control.tick_ms / 3000
    ]
    return SideChannelRow(
        name=f"order of {STREAMS} streams",
        control=control.name,
        tokens=rounds * STREAMS,
        symbols=len(pairs),
        alphabet=math.factorial(STREAMS),
        wrong=sum(one != order for one, order in pairs),
        bound_bits=0.0 if control.tick_ms else None if control.pace is None else timing_bits(records),
    )


def _rounds(tokens: Sequence[Heard], rounds: int) -> list[list[Heard]]:
    """The streams' tokens in the order of arrival, round by round."""
    orders: list[list[Heard]] = [[] for _ in range(rounds)]
    counts = [0] * STREAMS
    for heard in tokens:
        orders[counts[heard.stream]].append(heard)
        counts[heard.stream] += 1
    return orders
