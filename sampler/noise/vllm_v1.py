"""Gumbel noise of vLLM's older GPU runner: an exponential race on torch's CUDA generator, the counter-based Philox."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from weightwarden.sampler.errors import UnknownScheme
from weightwarden.sampler.noise.base import GumbelNoise, concatenate_hits, hits_of
from weightwarden.sampler.philox import Words, philox4x32, words_of
from weightwarden.sampler.schemes import GPU_THREADS
from weightwarden.sampler.types import FloatArray, IntArray, KeyArray

_KEY = np.dtype([("seed", np.uint64), ("counter", np.uint64)])
_BLOCK_THREADS = 256
_BLOCK_ELEMENTS = 1 << 14
"""Counters that are run at a time. Philox takes several arrays of 64 bits, which should stay in a core's cache."""
LOG_ERROR = 3.6e-7
"""Bound of the absolute error of CUDA's `__logf` for arguments in [0.5, 2] (CUDA C++ Programming Guide: 2^-21.41)."""
NEAR, LOG_ERROR_NEAR = 2.0**-7, 1e-7
"""The same bound for arguments above 1 - 2^-7: twice the largest error that an H100 shows at any float32 there (5.2e-8,
by `benchmarks.guarantees.cuda_noise`; tests/data/cuda-noise-h100.json). With the documented bound E could be zero.
"""
RACE_ERROR = 1e-6
"""Error of the float32 rounding of the softmax and of the division p / E, and of `__logf` outside [0.5, 2] (3 ulp).

Unit: nats.
"""
MAX_NOISE = 24 * np.log(2.0) - 1e-9
"""The noise for the engine's smallest constant E, 2^-24."""
MAX_SHARE = LOG_ERROR_NEAR * 2.0**23
"""Largest error relative to E, at the smallest E that is a logarithm: u is at least two units of float32 below 1."""


class VllmV1Noise(GumbelNoise):
    """Scheme `vllm-v1` (vLLM's `random_sample` on CUDA, docs/sampling.md, section 2): argmax of p / E, so g = -ln E.

    The fill runs on a grid of threads. Each has a separate Philox subsequence and draws four numbers a counter. Up to
    `gpu_threads` tokens, each token has a separate thread, and the GPU's model does not matter. Beyond, thread t draws
    tokens t, t + threads, ..., and schemes such as `vllm-v1-h100` name the number of threads.

    There is one fill a step, from the first step on. Where the engine drops a token that it has sampled (preemption
    with `drop_stale_output`), it draws once more than the record shows, and the rest of the answer does not replay.

    Key: the seed modulo 2^64, and the first counter of the step.

    Attributes:
        threads: threads of the grid.
        tokens_per_round: tokens that each counter of all threads fills.
    """

    name: ClassVar[str] = "vllm-v1"
    tolerance: ClassVar[float | None] = None
    _draws_per_counter: ClassVar[int] = 4

    def __init__(self, vocabulary: int, gpu_threads: int | None = None) -> None:
        """Gumbel noise for a vocabulary of that many tokens.

        Args:
            vocabulary: V, tokens.
            gpu_threads: threads that the engine's GPU holds at once; None for at least one a token.

        Raises:
            UnknownScheme: `gpu_threads` is None, and there are more tokens than threads on every known GPU.
        """
        super().__init__(vocabulary)
        if gpu_threads is None and vocabulary > max(GPU_THREADS.values()):
            raise UnknownScheme(
                f"scheme {self.name} has no thread for every one of {vocabulary} tokens, so that the noise depends on"
                f" the GPU: name it ({', '.join(f'{VllmV1Noise.name}-{gpu}' for gpu in GPU_THREADS)})"
            )
        whole = -(-vocabulary // _BLOCK_THREADS) * _BLOCK_THREADS
        self.threads = whole if gpu_threads is None else min(whole, gpu_threads // _BLOCK_THREADS * _BLOCK_THREADS)
        self.tokens_per_round = self.threads * self._draws_per_counter
        self._rounds = -(-vocabulary // self.tokens_per_round)

    def keys(self, seed: int, prompt_length: int, output_length: int) -> KeyArray:
        del prompt_length  # one fill a step, at any position
        keys = np.empty(output_length, _KEY)
        keys["seed"] = seed & 0xFFFFFFFFFFFFFFFF
        keys["counter"] = np.arange(output_length, dtype=np.uint64) * np.uint64(self._rounds)
        return keys

    def at(self, keys_n: KeyArray, ids_nk: IntArray) -> FloatArray:
        return self._gumbel(self.uniform_bits(keys_n, ids_nk))

    def above(self, keys_n: KeyArray, floor_n: FloatArray) -> tuple[IntArray, IntArray]:
        threshold_n = self._threshold(np.clip(floor_n, -700.0, 700.0))
        rows_at_once = max(1, _BLOCK_ELEMENTS // self.threads)
        hits = []
        for first in range(0, len(keys_n), rows_at_once):
            block = slice(first, first + rows_at_once)
            for start, bits in self._blocks_of_vocabulary(keys_n[block]):
                row, column = hits_of(bits >= threshold_n[block, None], first)
                hits.append((row, start + column))
        rows, ids = concatenate_hits(hits)
        order = np.lexsort((ids, rows))
        return rows[order], ids[order]

    def error(self, g_nk: FloatArray) -> FloatArray:
        """Errors [n, k], nats, mostly of `__logf`: its absolute error matters where E is small, up to 2 nats.

        The largest noise is the engine's constant for u near 1, not a logarithm.
        """
        exponential = np.exp(-g_nk)
        near = np.maximum(LOG_ERROR_NEAR / exponential, LOG_ERROR / NEAR)  # does not decrease as the noise grows
        share = np.where(exponential <= NEAR, near, LOG_ERROR / exponential)
        error: FloatArray = np.where(g_nk >= MAX_NOISE, 0.0, -np.log1p(-np.minimum(share, MAX_SHARE)))
        return error + RACE_ERROR

    def uniform_bits(self, keys_n: KeyArray, ids_nk: IntArray) -> Words:
        """The generator's integers [n, k] from which `at` makes noise: 32 bits (53 with float64), unrounded."""
        rounds, within = np.divmod(ids_nk.astype(np.uint64), np.uint64(self.tokens_per_round))
        component, thread = np.divmod(within, np.uint64(self.threads))
        bits: Words = np.choose(component.astype(np.intp), self._draws(keys_n, rounds, thread))
        return bits

    def _blocks_of_vocabulary(self, keys_n: KeyArray) -> Iterator[tuple[int, Words]]:
        """The generator's integers [n, block] of blocks of successive token ids, each with its first id."""
        for number in range(self._rounds):
            for start in range(0, self.threads, _BLOCK_ELEMENTS):
                threads = np.arange(start, min(start + _BLOCK_ELEMENTS, self.threads), dtype=np.uint64)[None, :]
                draws = self._draws(keys_n, np.array([[number]], np.uint64), threads)
                for component, bits in enumerate(draws):
                    first = number * self.tokens_per_round + component * self.threads + start
                    if first < self.vocabulary:
                        yield first, bits[:, : self.vocabulary - first]

    def _draws(self, keys_n: KeyArray, rounds: Words, threads: Words) -> tuple[Words, ...]:
        """The outputs of each counter, one array a component."""
        counter = words_of(keys_n["counter"][:, None] + rounds)
        return philox4x32((*counter, *words_of(threads)), words_of(keys_n["seed"][:, None]))

    def _gumbel(self, bits: Words) -> FloatArray:
        uniform = bits.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
        exponential = np.where(uniform >= np.float32(1 - 2.0**-24), 2.0**-24, -np.log(uniform.astype(np.float64)))
        return -np.log(exponential)

    def _threshold(self, floor_n: FloatArray) -> Words:
        # g + error >= floor  <=>  E <= exp(-floor) + the logarithm's error; u falls as E grows. float32 moves the
        # integer by at most 2^7.
        limit = np.exp(-floor_n) * (1 + 4 * RACE_ERROR) + LOG_ERROR
        share = np.ceil(-np.expm1(-limit) * 2.0**32)
        return np.maximum(2.0**32 - share - 2**8, 0.0).astype(np.uint64)


class VllmV1Fp64Noise(VllmV1Noise):
    """Scheme `vllm-v1-fp64` (`--use-fp64-gumbel` on CUDA, docs/sampling.md, section 2.6): E in float64, two a counter.

    The race is p / E in float64 with p a float32 softmax, whose rounding is the tolerance.
    """

    name = "vllm-v1-fp64"
    tolerance = RACE_ERROR
    _draws_per_counter = 2

    def error(self, g_nk: FloatArray) -> FloatArray:
        """Errors [n, k], equal for every token, nats."""
        return np.full(g_nk.shape, self.tolerance)

    def _draws(self, keys_n: KeyArray, rounds: Words, threads: Words) -> tuple[Words, ...]:
        x, y, z, w = super()._draws(keys_n, rounds, threads)
        return x ^ (y << np.uint64(21)), z ^ (w << np.uint64(21))

    def _gumbel(self, bits: Words) -> FloatArray:
        uniform = bits.astype(np.float64) * 2.0**-53 + 2.0**-54
        exponential = np.where(uniform >= 1 - 2.0**-53, 2.0**-53, -np.log(uniform))
        return -np.log(exponential)

    def _threshold(self, floor_n: FloatArray) -> Words:
        share = np.ceil(-np.expm1(-np.exp(-floor_n) * (1 + 4 * RACE_ERROR)) * 2.0**53)
        return np.maximum(2.0**53 - share - 4, 0.0).astype(np.uint64)
