"""Masks of tokens as bits, packed as grammar libraries fill them."""

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.types import BoolArray, IntArray

PackedMasks = NDArray[np.uint32]
"""Masks [n, ceil(V / 32)]: bit i of word j is 1 where token 32 j + i is allowed."""
EVERYTHING = np.uint32(0xFFFFFFFF)


def words_of(vocabulary: int) -> int:
    """Number of words of a mask."""
    return -(-vocabulary // 32)


def is_allowed(packed_nw: PackedMasks, rows: IntArray, ids: IntArray) -> BoolArray:
    """True for (row, token id) pairs that the masks allow, bool of the pairs' common shape; false for an id of -1."""
    ids = np.broadcast_to(ids, np.broadcast_shapes(rows.shape, ids.shape))
    at = np.maximum(ids, 0)
    bits = packed_nw[rows, at >> 5] >> (at & 31).astype(np.uint32)
    allowed: BoolArray = ((bits & np.uint32(1)) > 0) & (ids >= 0)
    return allowed


def allowed_counts(packed_nw: PackedMasks, vocabulary: int) -> IntArray:
    """Number of tokens that each mask allows, int64 [n]."""
    used = np.full(packed_nw.shape[1], EVERYTHING)
    if vocabulary % 32:
        used[-1] = np.uint32((1 << vocabulary % 32) - 1)
    counts: IntArray = np.bitwise_count(packed_nw & used).sum(axis=1, dtype=np.int64)
    return counts
