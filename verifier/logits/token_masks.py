"""Masks of tokens as bits, packed as grammar libraries fill them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.types import BoolArray, IntArray

PackedMasks = NDArray[np.uint32]
"""Masks [n, ceil(V / 32)]: bit i of word j is 1 where token 32 j + i is allowed."""
EVERYTHING = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class TokenMasks:
    """Masks of n rows, with equal ones held once: most positions of an answer share theirs with others.

    Attributes:
        distinct_uw: the masks, uint32 [distinct masks, words].
        mask_of_n: index of each row's mask, int64 [n].
    """

    distinct_uw: PackedMasks
    mask_of_n: IntArray

    def __len__(self) -> int:
        return len(self.mask_of_n)

    @property
    def packed_nw(self) -> PackedMasks:
        """The mask of each row."""
        return self.distinct_uw[self.mask_of_n]


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
