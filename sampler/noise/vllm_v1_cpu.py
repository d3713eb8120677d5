"""Gumbel noise of vLLM's older runner with torch's CPU generator: one exponential for every token at every step."""

import numpy as np

from weightwarden.sampler.mersenne import MersenneStream
from weightwarden.sampler.noise.base import GumbelNoise, concatenate_hits
from weightwarden.sampler.types import FloatArray, IntArray, KeyArray

_KEY = np.dtype([("seed", np.uint32), ("step", np.int64)])


class VllmV1CpuNoise(GumbelNoise):
    """Scheme `vllm-v1-cpu` (vLLM `random_sample` on RISC-V and POWER, docs/sampling.md, sections 2.3 and 2.6).

    The engine takes argmax of p / E with E exponential, which is the Gumbel race with g = -ln E; E is rounded to
    float32 as torch does. The stream is sequential: step j costs 2 V (j + 1) generator outputs from a cold start, so
    positions should come in order. Key: (seed, step). The tolerance is the float32 rounding of p and E.
    """

    name = "vllm-v1-cpu"
    tolerance = 1e-6

    def __init__(self, vocabulary: int) -> None:
        super().__init__(vocabulary)
        self._cursor: tuple[int, int, MersenneStream] | None = None  # seed, next step, its stream
        self._row: tuple[int, int, FloatArray] | None = None  # the last row made

    def keys(self, seed: int, prompt_length: int, output_length: int) -> KeyArray:
        del prompt_length  # one draw event a step, at any position
        keys = np.empty(output_length, _KEY)
        keys["seed"] = seed & 0xFFFFFFFF
        keys["step"] = np.arange(output_length)
        return keys

    def at(self, keys_n: KeyArray, ids_nk: IntArray) -> FloatArray:
        g = np.empty(ids_nk.shape, np.float64)
        for row, key in enumerate(keys_n):
            g[row] = self._step(int(key["seed"]), int(key["step"]))[ids_nk[row]]
        return g

    def above(self, keys_n: KeyArray, floor_n: FloatArray) -> tuple[IntArray, IntArray]:
        hits = []
        for row, key in enumerate(keys_n):
            ids = np.flatnonzero(self._step(int(key["seed"]), int(key["step"])) >= floor_n[row] - self.tolerance)
            hits.append((np.full(len(ids), row), ids))
        return concatenate_hits(hits)

    def _step(self, seed: int, step: int) -> FloatArray:
        """Noise [V] of one step."""
        if self._row is not None and self._row[:2] == (seed, step):
            return self._row[2]
        if self._cursor is None or self._cursor[0] != seed or self._cursor[1] > step:
            self._cursor = (seed, 0, MersenneStream(seed))
        _, at, stream = self._cursor
        for _ in range(at, step):
            stream.take(2 * self.vocabulary)
        uniform = (stream.take_pairs(self.vocabulary) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53
        with np.errstate(divide="ignore"):  # u = 0 gives E = 0 and g = +inf, as p / 0 does in the engine
            g: FloatArray = -np.log(-np.log1p(-uniform).astype(np.float32)).astype(np.float64)
        self._cursor = (seed, step + 1, stream)
        self._row = (seed, step, g)
        return g
