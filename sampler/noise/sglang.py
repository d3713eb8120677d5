"""Gumbel noise of SGLang with deterministic inference: murmur3 of (seed, position, column).

The column is a token id or a rank.
"""

import numpy as np

from weightwarden.sampler.noise.base import concatenate_hits, hits_of
from weightwarden.sampler.noise.murmur import MurmurNoise
from weightwarden.sampler.types import FloatArray, IntArray, KeyArray


class SglangNoise(MurmurNoise):
    """Scheme `sglang` (SGLang 0.5.23 `multinomial_with_seed`, docs/sampling.md, section 5): g = -ln(-ln u) in float64.

    u = hash / (2^32 - 1) may be 0 or 1; ln u is clamped to [-DBL_MAX, -2^-32]. SGLang before its PR 33423 lacked the
    upper clamp, so that a token with u = 1 always won (one in 2^32). Key: the hash state after seed and position. The
    tolerance is the error of the float32 logarithm of the float32 softmax to which the noise is added.
    """

    name = "sglang"
    tolerance = 1e-5

    def at(self, keys_n: KeyArray, ids_nk: IntArray) -> FloatArray:
        uniform = self._hashed(keys_n, ids_nk) / np.float64(2**32 - 1)
        with np.errstate(divide="ignore"):
            log_uniform = np.clip(np.log(uniform), -np.finfo(np.float64).max, -(2.0**-32))
        g: FloatArray = -np.log(-log_uniform)
        return g

    def above(self, keys_n: KeyArray, floor_n: FloatArray) -> tuple[IntArray, IntArray]:
        # g >= floor  <=>  u >= exp(-exp(-floor)); the clamp only lowers the largest values.
        share = -np.expm1(-np.exp(-np.clip(floor_n, -700.0, 700.0))) * (1 + 1e-4)
        threshold_n = np.clip(2.0**32 - np.ceil(share * 2.0**32) - 2, 0, 2.0**32 - 1).astype(np.uint32)
        hits = []
        for block, hashed in self._vocabulary_hashed(keys_n):
            hits.append(hits_of(hashed >= threshold_n[block, None], block.start))
        return concatenate_hits(hits)


class SglangRankedNoise(SglangNoise):
    """Scheme `sglang-ranked`: the same noise, by rank in descending probability (docs/sampling.md, section 5).

    SGLang sorts, and draws a column of the sorted row, as soon as any request of the batch is filtered or greedy.
    """

    name = "sglang-ranked"
    by_rank = True
