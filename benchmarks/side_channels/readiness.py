"""Readiness: a server that is ready or not, as it likes, and a client that asks the sidecar whether it is ready."""

import time

import httpx2
import numpy as np

from benchmarks.attackers.hostile_source import hostile_source
from benchmarks.results.tables.side_channels import SideChannelRow
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.release_control import ReleaseControl

PERIOD = 0.3
"""Seconds between two checks of the server."""
SAMPLES = 12
"""Number of the client's questions in a period."""
KNOWN = 8
"""Number of first symbols that the client knows: from them it finds the delay."""


def measured(control: ReleaseControl, periods: int, rng: np.random.Generator) -> SideChannelRow:
    """Send a random state in each period, and decode the states. The bound is one bit a period that is sent.

    Behind a pace the client waits for a slot at each question, and the server sends each state for longer.
    """
    symbols = np.concatenate([np.arange(KNOWN) % 3 == 0, rng.integers(0, 2, periods) == 1])
    ready: list[bool] = []
    with (
        hostile_source({}) as source,
        running_sidecar(source.url, control, "--ready-every", str(PERIOD)) as sidecar,
        httpx2.Client(base_url=sidecar.url, trust_env=False) as client,
    ):
        started = time.monotonic()
        for at in range((len(symbols) + 3) * SAMPLES):
            source.ready = bool(symbols[min(at // SAMPLES, len(symbols) - 1)])
            ready.append(client.get("/ready").status_code == 200)
            time.sleep(max(0.0, started + (at + 1) * PERIOD / SAMPLES - time.monotonic()))
    places = SAMPLES * np.arange(len(symbols))
    shifted = np.array([np.array(ready)[places + delay] for delay in range(3 * SAMPLES)])
    known = (shifted[:, :KNOWN] == symbols[:KNOWN]).sum(axis=1)
    best = np.flatnonzero(known == known.max())
    decoded = shifted[best[len(best) // 2]]
    return SideChannelRow(
        name="readiness",
        control=control.name,
        tokens=0,
        symbols=periods,
        alphabet=2,
        wrong=int((decoded[KNOWN:] != symbols[KNOWN:]).sum()),
        bound_bits=float(periods),
    )
