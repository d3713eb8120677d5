"""The trace of a scheme's noise in answers, at unknown temperature and filters."""

from collections.abc import Sequence
from math import log

import numpy as np
from scipy.stats import gamma

from weightwarden.sampler.errors import UnknownScheme
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.verifier.probe.queries import ProbeAnswer

_MAX_LOG10 = 40.0
"""Largest contribution of a token, nats."""


def log10_trace(
    scheme_name: str, said: Sequence[ProbeAnswer], vocabulary: int, seed: int | None = None
) -> float | None:
    """log10 of the probability, by chance, of noise as large as the scheme's noise of the claimed tokens.

    A token that wins by its noise has large noise. If the answers are unrelated to the scheme, exp(-exp(-g)) of their
    tokens is uniform, so that the sum of -ln(1 - exp(-exp(-g))) has the Gamma law of as many tokens.

    Args:
        seed: the seed with which all requests are supposed to have been drawn; None for each one's own.

    Returns:
        The logarithm. None if the scheme has no noise of token ids.
    """
    try:
        noise = gumbel_noise(scheme_name, vocabulary)
    except UnknownScheme:
        return None
    total, tokens = 0.0, 0
    for answer in said:
        ids = np.array(answer.token_ids, np.int64)
        keys = noise.keys(answer.seed if seed is None else seed, len(answer.question.token_ids), len(ids))
        with np.errstate(divide="ignore", over="ignore"):
            surprise = -np.log(-np.expm1(-np.exp(-noise.at(keys, ids[:, None])[:, 0])))
        total += float(np.minimum(surprise, _MAX_LOG10).sum())
        tokens += len(ids)
    return float(gamma.logsf(total, tokens)) / log(10)
