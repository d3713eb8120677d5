"""Gumbel noise from one murmur3 hash of (seed, position, column)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.murmur import finish, mix_word, position_states
from weightwarden.sampler.noise.base import GumbelNoise
from weightwarden.sampler.types import IntArray, KeyArray


class MurmurNoise(GumbelNoise):
    """Gumbel noise of a hash. Key: the hash state after seed and position, uint32."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__(vocabulary)
        self._ids = np.arange(vocabulary, dtype=np.uint32)

    def keys(self, seed: int, prompt_length: int, output_length: int) -> KeyArray:
        return position_states(seed, prompt_length, output_length)

    def _hashed(self, states_n: KeyArray, ids_nk: IntArray) -> NDArray[np.uint32]:
        """Hashes [n, k] of candidates."""
        return finish(mix_word(states_n[:, None], ids_nk.astype(np.uint32)))

    def _vocabulary_hashed(self, states_n: KeyArray) -> Iterator[tuple[slice, NDArray[np.uint32]]]:
        """Hashes [block, V] of whole rows, block after block of rows."""
        for block in self._blocks(len(states_n)):
            yield block, finish(mix_word(states_n[block, None], self._ids[None, :]))
