"""Gumbel noise on the device: twins of the counter-based schemes of `sampler.noise`, in torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch

from sampler.noise import GumbelNoise
from sampler.noise.vllm_cpu import VllmCpuNoise
from sampler.noise.vllm_v2 import VllmV2Noise
from sampler.types import KeyArray

_UINT32 = 0xFFFFFFFF
_SCAN_ELEMENTS = 1 << 24
"""Tokens hashed at a time where no kernel does it in registers."""


class DeviceNoise(ABC):
    """The noise of one scheme on the device of its arguments; what `GumbelNoise` says holds here too.

    Keys are int64 [n]: the bits of the scheme's own. Unsigned words stand in int64, whose sums and products wrap.
    """

    name: ClassVar[str]

    def keys(self, keys_n: KeyArray) -> torch.Tensor:
        """The scheme's keys as int64, on the host."""
        return torch.from_numpy(keys_n.astype(np.uint64).view(np.int64))

    @abstractmethod
    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        """Noise g [n, k], nats, float64, of candidate token ids [n, k]."""

    @abstractmethod
    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        """What the hash says of tokens [n, k], ordered as their noise is: a larger word never has less noise."""

    @abstractmethod
    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        """Smallest word [n] whose noise may reach each floor, nats."""

    def above(self, keys_n: torch.Tensor, least_n: torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
        """All (row, token id) whose word is least_n[row] or larger, two int64 [m], row-major."""
        ids = torch.arange(vocabulary, device=keys_n.device)[None, :]
        hits = []
        step = max(1, _SCAN_ELEMENTS // vocabulary)
        for start in range(0, len(keys_n), step):
            block = slice(start, start + step)
            found = (self.words(keys_n[block], ids) >= least_n[block, None]).nonzero()
            found[:, 0] += start
            hits.append(found)
        joined = torch.cat(hits) if hits else torch.empty((0, 2), dtype=torch.int64, device=keys_n.device)
        return joined[:, 0], joined[:, 1]


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift of 64-bit words."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


class VllmCpuDeviceNoise(DeviceNoise):
    """Scheme `vllm-cpu`: SplitMix64 in 64-bit arithmetic. A word is the 53 bits of the uniform number."""

    name = VllmCpuNoise.name
    _GAMMA, _MIX_1, _MIX_2 = (
        int(np.uint64(c).view(np.int64)) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
    )

    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        z = keys_n[:, None] + (ids_nk + 1) * self._GAMMA
        z = (z ^ _shift(z, 30)) * self._MIX_1
        z = (z ^ _shift(z, 27)) * self._MIX_2
        return _shift(z ^ _shift(z, 31), 11)

    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        uniform = (self.words(keys_n, ids_nk).double() + 0.5) * 2.0**-53
        return -(-uniform.log()).log()

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `VllmCpuNoise.above`: u >= exp(-exp(-floor)), and a margin that covers the rounding.
        share = (-torch.expm1(-(-floor_n.clamp(-700.0, 700.0)).exp())).clamp(0.0, 1.0) * (1 + 1e-9)
        return (2.0**53 - (share * 2.0**53).ceil() - 4).clamp(min=0.0).long()


class VllmV2DeviceNoise(DeviceNoise):
    """Scheme `vllm-v2`: murmur3 in 32-bit arithmetic, float32 logarithms. A word is the hash's complement.

    Against `VllmV2Noise`: equal but for the last place of the device's float32 logarithm, 1e-6 nats.
    """

    name = VllmV2Noise.name
    _COEFFICIENTS = [float(np.float32(1 / n)) for n in range(8, 0, -1)]

    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        return _UINT32 - self._hash(keys_n, ids_nk)

    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        r = self._hash(keys_n, ids_nk)
        u = (r >> 16).float() * 2.0**-16 + ((r & 0xFFFF).float() + 0.5) * 2.0**-32
        series = torch.zeros_like(u)
        for coefficient in self._COEFFICIENTS:
            series = series * u + coefficient
        negative_log = torch.where(u < 0.25, u * series, -(1 - u).clamp(min=2.0**-24).log())
        return (-negative_log.log()).double()

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `VllmV2Noise.above`: u <= 1 - exp(-exp(-floor)), and a margin far above float32's rounding.
        share = -torch.expm1(-(-floor_n.clamp(-80.0, 80.0)).exp())
        most = ((share * (1 + 1e-4) * 2.0**32).ceil() + 2**8).clamp(max=2.0**32 - 1).long()
        return _UINT32 - most

    @staticmethod
    def _hash(keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        def rotated(x: torch.Tensor, bits: int) -> torch.Tensor:
            return ((x << bits) | (x >> (32 - bits))) & _UINT32

        k = rotated((ids_nk * 0xCC9E2D51) & _UINT32, 15)
        h = rotated(keys_n[:, None] ^ ((k * 0x1B873593) & _UINT32), 13)
        h = (h * 5 + 0xE6546B64) & _UINT32
        h = h ^ 16
        h = h ^ (h >> 16)
        h = (h * 0x85EBCA6B) & _UINT32
        h = h ^ (h >> 13)
        h = (h * 0xC2B2AE35) & _UINT32
        return h ^ (h >> 16)


DEVICE_NOISE: dict[str, Callable[[], DeviceNoise]] = {
    kind.name: kind for kind in (VllmCpuDeviceNoise, VllmV2DeviceNoise)
}
"""Schemes that have a twin, by name; the others are reduced on the host."""


def device_noise(noise: GumbelNoise) -> DeviceNoise | None:
    """The twin of a scheme's noise, or None where there is none."""
    kind = DEVICE_NOISE.get(noise.name)
    return None if kind is None else kind()
