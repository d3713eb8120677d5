"""The gate's rule on the token times of an answer, without a gate: its start slot, its underruns, and its moments."""

from dataclasses import dataclass

import numpy as np

from weightwarden.logger.gate.schedule import first_slot
from weightwarden.logger.release import Pace, Release, run_lengths, slot_seconds
from weightwarden.sampler.types import FloatArray


@dataclass(frozen=True)
class PacedAnswer:
    """An answer at a pace: its release, and the seconds after its request at which each group leaves, float64."""

    release: Release
    group_seconds: FloatArray


def paced(token_seconds: FloatArray, pace: Pace) -> PacedAnswer:
    """The release of a streamed answer, as `logger.gate.schedule.Schedule` decides it.

    Group *g* leaves on tick *max(t, k + 1)* after the start, where *k* is the tick of the group before, and *t* the
    first tick at which its last token is there.

    Args:
        token_seconds: seconds after the request at which each token is there, ascending [tokens].
        pace: the pace.
    """
    groups = pace.groups(len(token_seconds))
    came_g = token_seconds[[min(pace.last_token(group), len(token_seconds) - 1) for group in range(groups)]]
    slot = first_slot(float(came_g[0]))
    start = slot_seconds(slot)
    places_g = np.arange(groups)
    ready_g = np.maximum(np.ceil((came_g - start - 1e-6) / pace.seconds), 0).astype(np.int64)
    tick_g = places_g + np.maximum.accumulate(np.maximum(ready_g - places_g, 0))
    missed_g = np.diff(tick_g, prepend=-1) - 1
    release = Release(pace=pace, streamed=True, start_slot=slot, underruns=run_lengths(missed_g.tolist()))
    return PacedAnswer(release, np.asarray(start + tick_g * pace.seconds, np.float64))
