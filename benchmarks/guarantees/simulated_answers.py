"""Answers of a simulated large model, and the moments at which a pace releases them.

The server decodes all streams in steps. A step takes a base time with jitter, and longer when the prompt of another
request is prefilled in it. Now and then it preempts a stream, which then waits for seconds. The first token waits for a
queue and for the prefill of its prompt.
"""

from dataclasses import dataclass

import numpy as np

from weightwarden.logger.gate.schedule import Schedule
from weightwarden.logger.release import Pace, Release, run_lengths
from weightwarden.sampler.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class SimulatedServer:
    """The speed of a server.

    Attributes:
        step_seconds: median time of a step, which makes one token of each stream.
        jitter: standard deviation of the ln of a step's time.
        prefill_share: share of steps with a prefill.
        prefill_seconds: mean time that a prefill adds.
        preempted_per_token: probability of a preemption before a token.
        preempted_seconds: mean time that a preempted stream waits.
        first_seconds: median time until the first token.
        first_spread: standard deviation of its ln.
    """

    step_seconds: float = 0.016
    jitter: float = 0.15
    prefill_share: float = 0.05
    prefill_seconds: float = 0.08
    preempted_per_token: float = 1e-5
    preempted_seconds: float = 3.0
    first_seconds: float = 0.4
    first_spread: float = 0.6

    def moments(self, tokens: int, rng: np.random.Generator) -> FloatArray:
        """Moments of an answer's tokens, seconds after its request [tokens]."""
        gap_n = self.step_seconds * rng.lognormal(0, self.jitter, tokens)
        gap_n += (rng.random(tokens) < self.prefill_share) * rng.exponential(self.prefill_seconds, tokens)
        gap_n += (rng.random(tokens) < self.preempted_per_token) * rng.exponential(self.preempted_seconds, tokens)
        gap_n[0] = self.first_seconds * rng.lognormal(0, self.first_spread)
        return np.cumsum(gap_n)


def released(moment_n: FloatArray, pace: Pace) -> Release:
    """The release of a streamed answer whose tokens came at these moments, by the gate's own schedule.

    The end comes with the last token.
    """
    schedule = Schedule(0.0, pace.seconds)
    last = np.minimum(np.arange(pace.groups(len(moment_n))) * pace.tokens + pace.tokens, len(moment_n)) - 1
    for came in moment_n[last].tolist():
        schedule.leave(came, schedule.due(came))
    return Release(pace=pace, streamed=True, start_slot=schedule.start_slot, underruns=run_lengths(schedule.missed))
