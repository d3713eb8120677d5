"""Gumbel noise of vLLM on a CPU: SplitMix64 of (step seed, token id), with step seeds of the request's generator."""

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.mersenne import MersenneStream
from weightwarden.sampler.noise.base import GumbelNoise, concatenate_hits, hits_of
from weightwarden.sampler.types import FloatArray, IntArray, KeyArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(z: NDArray[np.uint64], shifted: NDArray[np.uint64] | None = None) -> NDArray[np.uint64]:
    """SplitMix64's finaliser. It works in place, on an array that the caller owns, and multiplies modulo 2^64.

    Args:
        z: the states.
        shifted: scratch of the same shape, for callers that mix block after block.
    """
    shifted = np.empty_like(z) if shifted is None else shifted
    for shift, factor in ((30, _MIX_1), (27, _MIX_2), (31, None)):
        np.right_shift(z, np.uint64(shift), out=shifted)
        z ^= shifted
        if factor is not None:
            z *= factor
    return z


class VllmCpuNoise(GumbelNoise):
    """Scheme `vllm-cpu` (vLLM 0.32 `fused_gumbel_argmax`, docs/sampling.md, section 3), all in float64.

    Key: the SplitMix64 key of the step seed, uint64.
    """

    name = "vllm-cpu"
    tolerance = 1e-12

    def __init__(self, vocabulary: int) -> None:
        super().__init__(vocabulary)
        self._counters = np.arange(1, vocabulary + 1, dtype=np.uint64) * _GAMMA

    def keys(self, seed: int, prompt_length: int, output_length: int) -> KeyArray:
        del prompt_length  # one draw a step, at any position
        return self.keys_of_steps(MersenneStream(seed).take(2 * output_length)[1::2] & np.uint32(0x7FFFFFFF))

    def keys_of_steps(self, step_seeds_n: NDArray[np.unsignedinteger]) -> KeyArray:
        """Keys of step seeds in [0, 2^31), as `torch.randint(0, 2**31)` draws them."""
        return _mix(step_seeds_n.astype(np.uint64))

    def at(self, keys_n: KeyArray, ids_nk: IntArray) -> FloatArray:
        bits = _mix(keys_n[:, None] + (ids_nk.astype(np.uint64) + np.uint64(1)) * _GAMMA) >> np.uint64(11)
        uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53
        with np.errstate(divide="ignore"):  # all 53 bits set rounds to u = 1: g = +inf, as in the kernel
            g: FloatArray = -np.log(-np.log(uniform))
        return g

    def above(self, keys_n: KeyArray, floor_n: FloatArray) -> tuple[IntArray, IntArray]:
        # g >= floor  <=>  u >= exp(-exp(-floor)). expm1 is exact near 1, and the margin covers its rounding.
        share = np.clip(-np.expm1(-np.exp(-np.clip(floor_n, -700.0, 700.0))), 0.0, 1.0) * (1 + 1e-9)
        threshold_n = np.maximum(2.0**53 - np.ceil(share * 2.0**53) - 4, 0).astype(np.uint64) << np.uint64(11)
        hits = []
        hashed, shifted = np.empty((2, self.block_rows, self.vocabulary), np.uint64)
        for block in self._blocks(len(keys_n)):
            count = block.stop - block.start
            np.add(keys_n[block, None], self._counters, out=hashed[:count])
            _mix(hashed[:count], shifted[:count])
            hits.append(hits_of(hashed[:count] >= threshold_n[block, None], block.start))
        return concatenate_hits(hits)
