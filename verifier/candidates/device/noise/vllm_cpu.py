"""vLLM on a CPU, on the device: SplitMix64 in 64-bit arithmetic."""

import numpy as np
import torch

from weightwarden.sampler.noise.vllm_cpu import VllmCpuNoise
from weightwarden.verifier.candidates.device.noise.base import DeviceNoise, shift, winning_share


class VllmCpuDeviceNoise(DeviceNoise):
    """Scheme `vllm-cpu`. A word is the 53 bits of the uniform number."""

    name = VllmCpuNoise.name
    _GAMMA, _MIX_1, _MIX_2 = (
        int(np.uint64(c).view(np.int64)) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
    )

    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        z = keys_n[:, None] + (ids_nk + 1) * self._GAMMA
        z = (z ^ shift(z, 30)) * self._MIX_1
        z = (z ^ shift(z, 27)) * self._MIX_2
        return shift(z ^ shift(z, 31), 11)

    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        uniform = (self.words(keys_n, ids_nk).double() + 0.5) * 2.0**-53
        return -(-uniform.log()).log()

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `VllmCpuNoise.above`: u >= exp(-exp(-floor)), and a margin that covers the rounding.
        share = winning_share(floor_n, 700.0).clamp(0.0, 1.0) * (1 + 1e-9)
        return (2.0**53 - (share * 2.0**53).ceil() - 4).clamp(min=0.0).long()
