"""The raw 32-bit output stream of torch's CPU generator (MT19937).

NumPy's policy (NEP 19) freezes its `RandomState`, so the stream does not depend on the torch release.
"""

import numpy as np
from numpy.typing import NDArray


class MersenneStream:
    """Successive outputs of MT19937 seeded with `seed mod 2^32`, as `torch.Generator.manual_seed` does on the CPU.

    The upper 32 bits of the seed are ignored (docs/sampling.md, section 3.1): seeds equal modulo 2^32 are the same
    stream.
    """

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed & 0xFFFFFFFF)

    def take(self, count: int) -> NDArray[np.uint32]:
        """The next `count` outputs, uint32 [count]."""
        # RandomState.bytes(0) would consume one output.
        return np.frombuffer(self._state.bytes(4 * count) if count else b"", dtype="<u4")

    def take_pairs(self, count: int) -> NDArray[np.uint64]:
        """The next `count` 64-bit draws, uint64 [count]: two outputs each, the first in the upper half."""
        raw = self.take(2 * count).astype(np.uint64)
        pairs: NDArray[np.uint64] = (raw[0::2] << np.uint64(32)) | raw[1::2]
        return pairs
