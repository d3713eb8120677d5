"""The order of tokens of several streams of one request: log2(n!) bits a round, if the server could choose it."""

import itertools
import math

import numpy as np

from benchmarks.attackers.hostile_source import Said, hostile_source
from benchmarks.results.tables.side_channels import SideChannelRow
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.client import Heard, listened
from benchmarks.sidecar.token_source import FIRST_ID

STREAMS = 3
ROUND_MS, TICK_MS = 170, 150
"""Time of one token of every stream, in seconds, and a tick that holds most rounds whole."""
STEP = 0.03
"""Seconds between a stream's token and the one before it in the order."""


def measured(tick_ms: int | None, rounds: int, rng: np.random.Generator) -> SideChannelRow:
    """Send a random order in each round, one token of every stream, and decode it behind a sidecar.

    With ticks only rounds that leave on a single tick count: there the order is the sidecar's own, and the bound 0. A
    round on two ticks is a pause, which the bound of timing covers.
    """
    orders = [rng.permutation(STREAMS) for _ in range(rounds)]
    answers: dict[int, list[Said]] = {}
    for stream in range(STREAMS):
        times = [
            at * ROUND_MS / 1000 + STEP * float(np.flatnonzero(order == stream)[0]) for at, order in enumerate(orders)
        ]
        waits = np.diff(times, prepend=0.0)
        answers[1 + stream] = [Said(FIRST_ID + at, " token", float(wait)) for at, wait in enumerate(waits)]
    with hostile_source(answers) as upstream, running_sidecar(upstream, tick_ms) as sidecar:
        heard = _rounds(sidecar, rounds)
    pairs = [
        ([token.stream for token in one], order.tolist())
        for one, order in itertools.islice(zip(heard, orders, strict=True), 1, None)  # in the first, streams begin
        if tick_ms is None or one[-1].at - one[0].at < tick_ms / 3000
    ]
    return SideChannelRow(
        name=f"order of {STREAMS} streams",
        tick_ms=tick_ms,
        tokens=rounds * STREAMS,
        symbols=len(pairs),
        alphabet=math.factorial(STREAMS),
        wrong=sum(one != order for one, order in pairs),
        bound_bits=None if tick_ms is None else 0.0,
    )


def _rounds(sidecar: str, rounds: int) -> list[list[Heard]]:
    """The streams' tokens in the order of arrival, round by round."""
    orders: list[list[Heard]] = [[] for _ in range(rounds)]
    counts = [0] * STREAMS
    for heard in listened(sidecar, range(1, 1 + STREAMS), rounds):
        orders[counts[heard.stream]].append(heard)
        counts[heard.stream] += 1
    return orders
