"""The noises of a murmur3 hash on the device (`sampler.noise.murmur`), in 32-bit arithmetic."""

import numpy as np
import torch

from weightwarden.sampler.noise.sglang import SglangNoise
from weightwarden.sampler.noise.vllm_v2 import VllmV2Noise
from weightwarden.sampler.noise.vllm_v2_fp64 import VllmV2Fp64Noise
from weightwarden.sampler.types import KeyArray
from weightwarden.verifier.candidates.device.noise.base import UINT32, DeviceNoise, shift, winning_share


def hashed(states_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
    """Hashes [n, k] of tokens after the states of their rows."""
    k = _rotated((ids_nk * 0xCC9E2D51) & UINT32, 15)
    h = _rotated(states_n[:, None] ^ ((k * 0x1B873593) & UINT32), 13)
    h = (h * 5 + 0xE6546B64) & UINT32
    h = h ^ 16
    h = h ^ (h >> 16)
    h = (h * 0x85EBCA6B) & UINT32
    h = h ^ (h >> 13)
    h = (h * 0xC2B2AE35) & UINT32
    return h ^ (h >> 16)


def _rotated(x: torch.Tensor, bits: int) -> torch.Tensor:
    return ((x << bits) | (x >> (32 - bits))) & UINT32


class VllmV2DeviceNoise(DeviceNoise):
    """Scheme `vllm-v2`: float32 logarithms. A word is the hash's complement.

    Against `VllmV2Noise`: equal but for the last place of the device's float32 logarithm, 1e-6 nats.
    """

    name = VllmV2Noise.name
    _COEFFICIENTS = [float(np.float32(1 / n)) for n in range(8, 0, -1)]

    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        return UINT32 - hashed(keys_n, ids_nk)

    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        r = hashed(keys_n, ids_nk)
        u = (r >> 16).float() * 2.0**-16 + ((r & 0xFFFF).float() + 0.5) * 2.0**-32
        series = torch.zeros_like(u)
        for coefficient in self._COEFFICIENTS:
            series = series * u + coefficient
        negative_log = torch.where(u < 0.25, u * series, -(1 - u).clamp(min=2.0**-24).log())
        return (-negative_log.log()).double()

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `VllmV2Noise.above`: u <= 1 - exp(-exp(-floor)), and a margin far above float32's rounding.
        share = winning_share(floor_n, 80.0)
        most = ((share * (1 + 1e-4) * 2.0**32).ceil() + 2**8).clamp(max=2.0**32 - 1).long()
        return UINT32 - most


class VllmV2Fp64DeviceNoise(DeviceNoise):
    """Scheme `vllm-v2-fp64`. A key is both hash states, the low one in the low half; a word is the 53 bits."""

    name = VllmV2Fp64Noise.name

    def keys(self, keys_n: KeyArray) -> torch.Tensor:
        both = keys_n["low"].astype(np.uint64) | keys_n["high"].astype(np.uint64) << np.uint64(32)
        return torch.from_numpy(both.view(np.int64))

    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        low, high = hashed(keys_n & UINT32, ids_nk), hashed(shift(keys_n, 32), ids_nk)
        return shift(high << 32 | low, 11)

    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        uniform = ((self.words(keys_n, ids_nk).double() + 0.5) * 2.0**-53).clamp(max=1 - 2.0**-53)
        return -(-uniform.log()).log()

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `VllmV2Fp64Noise.above`.
        share = winning_share(floor_n, 700.0) * (1 + 1e-4)
        return (2.0**53 - (share * 2.0**53).ceil() - 2**21).clamp(min=0.0).long()


class SglangDeviceNoise(DeviceNoise):
    """Scheme `sglang`. A word is the hash."""

    name = SglangNoise.name

    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        return hashed(keys_n, ids_nk)

    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        uniform = hashed(keys_n, ids_nk).double() / (2.0**32 - 1)
        log_uniform = uniform.log().clamp(-torch.finfo(torch.float64).max, -(2.0**-32))
        return -(-log_uniform).log()

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `SglangNoise.above`.
        share = winning_share(floor_n, 700.0) * (1 + 1e-4)
        return (2.0**32 - (share * 2.0**32).ceil() - 2).clamp(0.0, 2.0**32 - 1).long()
