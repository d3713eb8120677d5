"""The generator Philox4x32-10 of CUDA's torch.Generator (Salmon et al., SC 2011; docs/sampling.md, section 2.4)."""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_HALF = np.uint64(32)
_MASK = np.uint64(0xFFFFFFFF)

Words = NDArray[np.uint64]
"""Numbers below 2^32."""


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]) -> tuple[Words, ...]:
    """The four 32-bit outputs of each counter, words 0 to 3.

    Args:
        counter: words of the counters. Rows of counters cost least where a word is the same along an axis.
        key: words of the keys, of a shape that broadcasts with the counters'.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        low, high = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]  # below 2^64: nothing wraps
        x0, x1 = (high >> _HALF) ^ (x1 ^ k0), high & _MASK
        x2, x3 = (low >> _HALF) ^ (x3 ^ k1), low & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return x0, x1, x2, x3


def words_of(numbers: NDArray[np.uint64]) -> tuple[Words, Words]:
    """The low and the high 32 bits."""
    return numbers & _MASK, numbers >> _HALF
