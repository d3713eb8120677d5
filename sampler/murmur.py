"""The hash murmur3_x86_32 of four 32-bit words, in vLLM's GPU runner and in SGLang (docs/sampling.md, section 4.3)."""

import numpy as np
from numpy.typing import NDArray

UINT32 = 0xFFFFFFFF


def _rotl(x: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))


def mix_word(h: NDArray[np.uint32], word: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """One body round; wraps modulo 2^32."""
    k = word * np.uint32(0xCC9E2D51)
    k = _rotl(k, 15) * np.uint32(0x1B873593)
    return _rotl(h ^ k, 13) * np.uint32(5) + np.uint32(0xE6546B64)


def finish(h: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finaliser for 16 bytes. It works in place, on an array that the caller owns."""
    h ^= np.uint32(16)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h


def position_states(seed: int, prompt_length: int, output_length: int, *, domain: int = 0) -> NDArray[np.uint32]:
    """Hash states [output_length] after the seed and the position. The fourth word is a token id, or a rank.

    The position is that of the last input token whose logits are sampled, counted from 0.

    Args:
        seed: the choice's seed.
        prompt_length: prompt tokens.
        output_length: output tokens.
        domain: the initial state.
    """
    positions = np.arange(prompt_length - 1, prompt_length - 1 + output_length, dtype=np.int64)
    state = np.full(output_length, domain, np.uint32)
    for word in (seed & UINT32, (seed >> 32) & UINT32):
        state = mix_word(state, np.full(output_length, word, np.uint32))
    return mix_word(state, (positions & UINT32).astype(np.uint32))
