"""Gumbel noise of vLLM's GPU model runner with `--use-fp64-gumbel`: two murmur3 hashes a (seed, position, token)."""

import numpy as np

from weightwarden.sampler.murmur import position_states
from weightwarden.sampler.noise.base import concatenate_hits, hits_of
from weightwarden.sampler.noise.murmur import MurmurNoise
from weightwarden.sampler.types import FloatArray, IntArray, KeyArray

_KEY = np.dtype([("low", np.uint32), ("high", np.uint32)])
_HIGH_DOMAIN = 0x9E3779B9


class VllmV2Fp64Noise(MurmurNoise):
    """Scheme `vllm-v2-fp64` (docs/sampling.md, section 4.5): u of 53 bits, g = -ln(-ln u), all in float64.

    Its uniforms differ from those of `vllm-v2`, and large noise comes from large u. Key: the two hash states after seed
    and position. The tolerance covers the division by the temperature, in float32 on the GPU, and the float64
    logarithms.
    """

    name = "vllm-v2-fp64"
    tolerance = 1e-5

    def keys(self, seed: int, prompt_length: int, output_length: int) -> KeyArray:
        keys = np.empty(output_length, _KEY)
        keys["low"] = position_states(seed, prompt_length, output_length)
        keys["high"] = position_states(seed, prompt_length, output_length, domain=_HIGH_DOMAIN)
        return keys

    def at(self, keys_n: KeyArray, ids_nk: IntArray) -> FloatArray:
        low, high = (self._hashed(keys_n[half], ids_nk).astype(np.uint64) for half in ("low", "high"))
        bits = ((high << np.uint64(32)) | low) >> np.uint64(11)
        uniform = np.minimum((bits.astype(np.float64) + 0.5) * 2.0**-53, 1 - 2.0**-53)
        g: FloatArray = -np.log(-np.log(uniform))
        return g

    def above(self, keys_n: KeyArray, floor_n: FloatArray) -> tuple[IntArray, IntArray]:
        # g >= floor  <=>  u >= exp(-exp(-floor)). The upper hash alone decides, except for one part in 2^32.
        share = -np.expm1(-np.exp(-np.clip(floor_n, -700.0, 700.0))) * (1 + 1e-4)
        threshold_n = np.clip(2.0**32 - np.ceil(share * 2.0**32) - 1, 0, 2.0**32 - 1).astype(np.uint32)
        hits = []
        for block, hashed in self._vocabulary_hashed(keys_n["high"]):
            hits.append(hits_of(hashed >= threshold_n[block, None], block.start))
        return concatenate_hits(hits)
