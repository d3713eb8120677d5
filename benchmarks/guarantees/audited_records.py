"""Records of very different lengths, attackers who fill some of them, and audits by records or by tokens."""

from collections.abc import Callable


import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign
from weightwarden.verifier.statistics.total_limit import PoissonSample

LOG2_VOCABULARY, END_BITS = 16.0, 84.0


def probabilities(design: AuditBy, rate: float, tokens_r: FloatArray) -> FloatArray:
    """Probability of each record's draw."""
    return SamplingDesign(rate, design).probabilities(tokens_r)


def most_bits(tokens_r: FloatArray) -> FloatArray:
    """The most bits that a record of each length can carry."""
    return LOG2_VOCABULARY * tokens_r + END_BITS


def filled(which_r: BoolArray, tokens_r: FloatArray, honest: float = 0.05) -> FloatArray:
    """Bits of records: full where chosen, and an honest record's otherwise."""
    return np.where(which_r, most_bits(tokens_r), honest * tokens_r)


def _longest(rng: np.random.Generator, tokens_r: FloatArray, share: float) -> FloatArray:
    count = int(np.ceil(share * len(tokens_r)))
    return filled(np.isin(np.arange(len(tokens_r)), np.argsort(-tokens_r)[:count]), tokens_r)


def _shortest(rng: np.random.Generator, tokens_r: FloatArray, share: float) -> FloatArray:
    count = int(np.ceil(share * len(tokens_r)))
    return filled(np.isin(np.arange(len(tokens_r)), np.argsort(tokens_r)[:count]), tokens_r)


def _random(rng: np.random.Generator, tokens_r: FloatArray, share: float) -> FloatArray:
    return filled(rng.random(len(tokens_r)) < share, tokens_r)


def _part(rng: np.random.Generator, tokens_r: FloatArray, share: float) -> FloatArray:
    return share * most_bits(tokens_r)


ATTACKERS: dict[str, Callable[[np.random.Generator, FloatArray, float], FloatArray]] = {
    "longest": _longest,
    "shortest": _shortest,
    "random": _random,
    "a share of each": _part,
}


def drawn(
    rng: np.random.Generator, bits_r: FloatArray, tokens_r: FloatArray, probability_r: FloatArray
) -> PoissonSample:
    """One draw of the audited records."""
    audited_r = rng.random(len(bits_r)) < probability_r
    return sample_of(audited_r, bits_r, tokens_r, probability_r)


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
