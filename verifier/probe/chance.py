"""The number of tokens that a scheme would match by chance."""

import numpy as np

from weightwarden.sampler.types import FloatArray


def log10_tail(chance_n: FloatArray, matches: int) -> float:
    """log10 of the probability that at least `matches` of n independent events happen; -inf below 1e-300.

    The number of events is Poisson binomial. The law is computed by convolution, a sum of positive terms, so that its
    small tail is exact to rounding.

    Args:
        chance_n: probability of each event.
    """
    law = np.zeros(len(chance_n) + 1)
    law[0] = 1.0
    for p in chance_n:
        law[1:] = law[1:] * (1 - p) + law[:-1] * p
        law[0] *= 1 - p
    tail = float(law[matches:].sum())
    return min(float(np.log10(tail)), 0.0) if tail > 1e-300 else -np.inf
