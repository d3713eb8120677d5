"""Token masks of an answer under its grammar."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class GrammarMasks:
    """The masks of the first positions of an answer, packed.

    Bit `i % 32` of word `i // 32` is 1 if the grammar allows token `i`. Bits outside the vocabulary are 0. Equal rows
    are held once.

    Attributes:
        distinct_uw: uint32 [distinct masks, words]; the masks.
        mask_of_n: uint32 [positions]; index of each position's mask in `distinct_uw`.
        outside_at: the first position whose token the grammar does not allow, or None. It is the last with a mask.
    """

    distinct_uw: Words
    mask_of_n: Words
    outside_at: int | None

    def __len__(self) -> int:
        return len(self.mask_of_n)

    @property
    def packed_nw(self) -> Words:
        """The mask of each position: uint32 [positions, words]. It takes V / 8 bytes a position."""
        return self.rows(0, len(self))

    def rows(self, first: int, last: int) -> Words:
        """The masks of the positions from `first` on and before `last`: uint32 [positions, words]."""
        return self.distinct_uw[self.mask_of_n[first:last]]
