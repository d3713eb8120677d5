"""The protocol of Gumbel noise on the device, and integer operations shared by its schemes."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
import torch

from weightwarden.sampler.noise import GumbelNoise
from weightwarden.sampler.types import KeyArray

UINT32 = 0xFFFFFFFF
SCAN_ELEMENTS = 1 << 24
"""Number of tokens hashed at a time where no kernel does it in registers."""


class DeviceNoise(ABC):
    """The noise of one scheme, on the device of its arguments. The rules of `GumbelNoise` apply.

    Keys are int64, [n] or [n, words]: the bits of the scheme's own keys. Unsigned words are held in int64, whose sums
    and products wrap.
    """

    name: ClassVar[str]

    def __init__(self, tolerance: float | None) -> None:
        """Noise with that `GumbelNoise.tolerance`."""
        self.tolerance = tolerance

    @classmethod
    def twin_of(cls, noise: GumbelNoise) -> Self:
        """The twin of a scheme's noise on the host."""
        return cls(noise.tolerance)

    def keys(self, keys_n: KeyArray) -> torch.Tensor:
        """The scheme's keys, on the host."""
        return torch.from_numpy(keys_n.astype(np.uint64).view(np.int64))

    @abstractmethod
    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        """Noise g [n, k], nats, float64, of candidate token ids [n, k]."""

    def error(self, g_nk: torch.Tensor) -> torch.Tensor:
        """`GumbelNoise.error`, nats, float64 [n, k]."""
        assert self.tolerance is not None
        return g_nk.new_full((), self.tolerance).expand_as(g_nk)

    @abstractmethod
    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        """Hash words of tokens [n, k], ordered like their noise: a larger word never has less noise."""

    @abstractmethod
    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        """Smallest word [n] whose noise, with its error, may reach each floor, nats."""

    def above(self, keys_n: torch.Tensor, least_n: torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
        """All (row, token id) whose word is least_n[row] or larger, two int64 [m], row-major."""
        ids = torch.arange(vocabulary, device=keys_n.device)[None, :]
        hits = []
        step = max(1, SCAN_ELEMENTS // vocabulary)
        for start in range(0, len(keys_n), step):
            block = slice(start, start + step)
            found = (self.words(keys_n[block], ids) >= least_n[block, None]).nonzero()
            found[:, 0] += start
            hits.append(found)
        joined = torch.cat(hits) if hits else torch.empty((0, 2), dtype=torch.int64, device=keys_n.device)
        return joined[:, 0], joined[:, 1]


def shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift of 64-bit words."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def winning_share(floor_n: torch.Tensor, limit: float) -> torch.Tensor:
    """Probability that noise reaches each floor, nats: 1 - exp(-exp(-floor)); floors beyond the limit are at it."""
    return -torch.expm1(-(-floor_n.clamp(-limit, limit)).exp())
