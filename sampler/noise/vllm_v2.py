"""Gumbel noise of vLLM's current GPU model runner: murmur3 of (seed, position, token id), counter-based."""

import numpy as np

from weightwarden.sampler.noise.base import concatenate_hits, hits_of
from weightwarden.sampler.noise.murmur import MurmurNoise
from weightwarden.sampler.types import FloatArray, IntArray, KeyArray

_LOG1P_COEFFICIENTS = [np.float32(1 / n) for n in range(8, 0, -1)]
"""-ln(1 - u) = u * (1 + u * (1/2 + u * (1/3 + ...))) to the eighth order, highest first (Horner)."""
_MIN_COMPLEMENT = np.float32(2.0**-24)


class VllmV2Noise(MurmurNoise):
    """Scheme `vllm-v2` (vLLM 0.32 `gumbel.py`, docs/sampling.md, section 4), in float32 as in the kernel.

    Key: the hash state after seed and position, uint32.
    """

    name = "vllm-v2"
    tolerance = 1e-5

    def at(self, keys_n: KeyArray, ids_nk: IntArray) -> FloatArray:
        r = self._hashed(keys_n, ids_nk)
        high = (r >> np.uint32(16)).astype(np.float32) * np.float32(2.0**-16)
        low = ((r & np.uint32(0xFFFF)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
        u = high + low
        series = np.zeros_like(u)
        for coefficient in _LOG1P_COEFFICIENTS:
            series = series * u + coefficient
        negative_log = np.where(
            u < np.float32(0.25), u * series, -np.log(np.maximum(np.float32(1) - u, _MIN_COMPLEMENT))
        )
        return (-np.log(negative_log)).astype(np.float64)

    def above(self, keys_n: KeyArray, floor_n: FloatArray) -> tuple[IntArray, IntArray]:
        # Large noise comes from small u: g >= floor  <=>  u <= 1 - exp(-exp(-floor)). The margin of one part in 1e4
        # is far above float32's rounding, and the kernel's clamp only lowers the largest values.
        share = -np.expm1(-np.exp(-np.clip(floor_n, -80.0, 80.0)))
        threshold_n = np.minimum(np.ceil(share * (1 + 1e-4) * 2.0**32) + 2**8, 2.0**32 - 1).astype(np.uint32)
        hits = []
        for block, hashed in self._vocabulary_hashed(keys_n):
            hits.append(hits_of(hashed <= threshold_n[block, None], block.start))
        return concatenate_hits(hits)
