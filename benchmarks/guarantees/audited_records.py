"""Records of very different lengths, attackers who fill some of them, and audits by records or by tokens."""

from collections.abc import Callable

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign
from weightwarden.verifier.statistics.total_limit import PoissonSample

LOG2_VOCABULARY, END_BITS = 16.0, 84.0


def probabilities(by: AuditBy, rate: float, tokens_r: FloatArray) -> FloatArray:
    """Probability of each record's draw."""
    return SamplingDesign(rate, by).probabilities(tokens_r)


def most_bits(tokens_r: FloatArray) -> FloatArray:
    """The most bits that a record of each length can carry."""
    return LOG2_VOCABULARY * tokens_r + END_BITS


def various_lengths(rng: np.random.Generator, count: int) -> FloatArray:
    """Lengths of 1 to 1,000 tokens: mostly short, a tenth as long as can be."""
    return np.where(rng.random(count) < 0.1, 1000.0, np.ceil(np.exp(rng.uniform(0, np.log(1000), count))))


def filled(which_r: BoolArray, tokens_r: FloatArray, honest: float = 0.05) -> FloatArray:
    """Bits of records: full where chosen, and an honest record's otherwise."""
    return np.where(which_r, most_bits(tokens_r), honest * tokens_r)


def _first(order: IntArray, tokens_r: FloatArray, share: float) -> FloatArray:
    count = int(np.ceil(share * len(tokens_r)))
    return filled(np.isin(np.arange(len(tokens_r)), order[:count]), tokens_r)


ATTACKERS: dict[str, Callable[[np.random.Generator, FloatArray, float], FloatArray]] = {
    "longest": lambda rng, tokens_r, share: _first(np.argsort(-tokens_r), tokens_r, share),
    "shortest": lambda rng, tokens_r, share: _first(np.argsort(tokens_r), tokens_r, share),
    "random": lambda rng, tokens_r, share: filled(rng.random(len(tokens_r)) < share, tokens_r),
    "a share of each": lambda rng, tokens_r, share: share * most_bits(tokens_r),
}
"""Attackers by what they fill: the bits of records of these lengths, for a share of the records (or of each)."""


def drawn(
    rng: np.random.Generator, bits_r: FloatArray, tokens_r: FloatArray, probability_r: FloatArray
) -> PoissonSample:
    """One draw of the audited records."""
    return sample_of(rng.random(len(bits_r)) < probability_r, bits_r, tokens_r, probability_r)


def sample_of(
    audited_r: BoolArray, bits_r: FloatArray, tokens_r: FloatArray, probability_r: FloatArray
) -> PoissonSample:
    """The sample in which these records were audited."""
    return PoissonSample(
        bits_r=bits_r[audited_r],
        probability_r=probability_r[audited_r],
        unaudited_bits_u=most_bits(tokens_r[~audited_r]),
        unaudited_probability_u=probability_r[~audited_r],
        unaudited_count_u=np.ones(int((~audited_r).sum())),
        tokens=int(tokens_r.sum()),
        audited_tokens=int(tokens_r[audited_r].sum()),
    )
