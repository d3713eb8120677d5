"""Records whose tokens depend on each other, and how often a claim may fail in simulation."""

from typing import Literal

import numpy as np
from scipy.stats import binom

from weightwarden.sampler.types import FloatArray

Dependence = Literal["none", "strong", "all or nothing"]
DEPENDENCES: tuple[Dependence, ...] = ("none", "strong", "all or nothing")


def records(
    rng: np.random.Generator, dependence: Dependence, *, count: int, rate: float, longest: int
) -> tuple[FloatArray, FloatArray]:
    """Events and tokens of records whose tokens each have an event at `rate`; lengths vary by two."""
    tokens = rng.integers((longest + 1) // 2, longest + 1, count)
    if dependence == "none":
        events = rng.binomial(tokens, rate)
    elif dependence == "strong":  # intraclass correlation 0.2
        strength = 1 / 0.2 - 1
        events = rng.binomial(tokens, rng.beta(rate * strength, (1 - rate) * strength, count))
    else:
        events = tokens * (rng.random(count) < rate)
    return events.astype(np.float64), tokens.astype(np.float64)


def most_misses(miss: float, runs: int) -> int:
    """A claim that fails with probability `miss` fails more often than this in one of 1,000 simulations."""
    return int(binom.isf(1e-3, runs, miss))
