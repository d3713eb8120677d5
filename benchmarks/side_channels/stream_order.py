"""The order in which several streams of one request get their tokens: log2(n!) bits a round, were it the server's."""

import itertools
import json
import time
from collections.abc import Sequence

import httpx2
import numpy as np

from benchmarks.attackers.hostile_source import Said, hostile_source
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.row import Row
from benchmarks.token_source import FIRST_ID

STREAMS = 3
ROUND_MS, TICK_MS = 170, 150
"""Time of one token of every stream, and a tick that most rounds fall on one of."""
STEP = 0.03
"""Seconds by which a stream's token comes after the one before it in the order."""


def measured(tick_ms: int | None, rounds: int, rng: np.random.Generator) -> Row:
    """Say a random order in each round, one token of every stream, and hear it behind a sidecar.

    With ticks only those rounds count that leave on one: there the order is the sidecar's own, and the bound 0. What
    falls on two ticks are pauses, of which the bound of timing speaks.
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
        heard = _heard(sidecar, rounds)
    pairs = [
        ([stream for _, stream in one], order.tolist())
        for one, order in itertools.islice(zip(heard, orders, strict=True), 1, None)  # in the first, streams begin
        if tick_ms is None or one[-1][0] - one[0][0] < tick_ms / 3000
    ]
    return Row(
        name=f"order of {STREAMS} streams",
        tick_ms=tick_ms,
        tokens=rounds * STREAMS,
        symbols=len(pairs),
        alphabet=len(list(itertools.permutations(range(STREAMS)))),
        wrong=sum(one != order for one, order in pairs),
        bound_bits=None if tick_ms is None else 0.0,
    )


def _heard(url: str, rounds: int) -> Sequence[list[tuple[float, int]]]:
    """When the streams' tokens come, seconds, and of which stream, in order, round by round."""
    body = {
        "model": "source",
        "prompt": [[1 + stream, 1] for stream in range(STREAMS)],
        "max_tokens": rounds,
        "stream": True,
        "ignore_eos": True,
    }
    orders: list[list[tuple[float, int]]] = [[] for _ in range(rounds)]
    counts = [0] * STREAMS
    with httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=60, trust_env=False) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                [choice] = json.loads(line.removeprefix("data: "))["choices"]
                if choice["finish_reason"] is None or choice["text"]:
                    orders[counts[choice["index"]]].append((time.perf_counter(), choice["index"]))
                    counts[choice["index"]] += 1
    return orders
