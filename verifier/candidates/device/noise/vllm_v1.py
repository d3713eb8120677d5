"""vLLM's older GPU runner on the device: the race on torch's CUDA generator, Philox (`sampler.noise.vllm_v1`)."""

from typing import Self

import numpy as np
import torch

from weightwarden.sampler.noise import GumbelNoise
from weightwarden.sampler.noise.vllm_v1 import (
    LOG_ERROR,
    LOG_ERROR_NEAR,
    MAX_NOISE,
    MAX_SHARE,
    NEAR,
    RACE_ERROR,
    VllmV1Fp64Noise,
    VllmV1Noise,
)
from weightwarden.sampler.philox import ROUNDS
from weightwarden.sampler.types import KeyArray
from weightwarden.verifier.candidates.device.noise.base import SCAN_ELEMENTS, UINT32, DeviceNoise, shift

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


def philox4x32(counter: tuple[torch.Tensor, ...], key: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """`sampler.philox.philox4x32` on words in int64."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        low, high = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1 = shift(high, 32) ^ x1 ^ k0, high & UINT32
        x2, x3 = shift(low, 32) ^ x3 ^ k1, low & UINT32
        k0, k1 = (k0 + _WEYL[0]) & UINT32, (k1 + _WEYL[1]) & UINT32
    return x0, x1, x2, x3


class VllmV1DeviceNoise(DeviceNoise):
    """Scheme `vllm-v1`, of any GPU. Keys are [n, 2], seed and counter; a word is the generator's integer."""

    name = VllmV1Noise.name

    def __init__(self, host: VllmV1Noise) -> None:
        """The twin of the given noise."""
        super().__init__(host.tolerance)
        self._threads, self._tokens_per_round = host.threads, host.tokens_per_round

    @classmethod
    def twin_of(cls, noise: GumbelNoise) -> Self:
        assert isinstance(noise, VllmV1Noise)
        return cls(noise)

    def keys(self, keys_n: KeyArray) -> torch.Tensor:
        return torch.from_numpy(np.stack([keys_n["seed"], keys_n["counter"]], axis=1).view(np.int64))

    def words(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        rounds, within = ids_nk // self._tokens_per_round, ids_nk % self._tokens_per_round
        draws = torch.stack(self._draws(keys_n, rounds, within % self._threads))
        component = (within // self._threads)[None].expand(1, *draws.shape[1:])
        return draws.gather(0, component)[0]

    def at(self, keys_n: torch.Tensor, ids_nk: torch.Tensor) -> torch.Tensor:
        return self._gumbel(self.words(keys_n, ids_nk))

    def error(self, g_nk: torch.Tensor) -> torch.Tensor:
        exponential = (-g_nk).exp()
        near = (LOG_ERROR_NEAR / exponential).clamp(min=LOG_ERROR / NEAR)
        share = torch.where(exponential <= NEAR, near, LOG_ERROR / exponential)
        share = share.clamp(max=MAX_SHARE)
        return torch.where(g_nk >= MAX_NOISE, 0.0, -torch.log1p(-share)) + RACE_ERROR

    def above(self, keys_n: torch.Tensor, least_n: torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`DeviceNoise.above`, with each counter run once for all of its draws."""
        threads = torch.arange(self._threads, device=keys_n.device)[None, :]
        rows, ids = [keys_n.new_empty(0)], [keys_n.new_empty(0)]
        step = max(1, SCAN_ELEMENTS // (4 * self._threads))
        for start in range(0, len(keys_n), step):
            block = slice(start, start + step)
            for number in range(-(-vocabulary // self._tokens_per_round)):
                draws = self._draws(keys_n[block], torch.full_like(threads[:, :1], number), threads)
                for component, words in enumerate(draws):
                    first = number * self._tokens_per_round + component * self._threads
                    row, thread = (words >= least_n[block, None]).nonzero(as_tuple=True)
                    rows.append(row + start)
                    ids.append(thread + first)
        row, token = torch.cat(rows), torch.cat(ids)
        inside = token < vocabulary
        row, token = row[inside], token[inside]
        order = (row * vocabulary + token).argsort()
        return row[order], token[order]

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `VllmV1Noise.above`.
        limit = (-floor_n.clamp(-700.0, 700.0)).exp() * (1 + 4 * RACE_ERROR) + LOG_ERROR
        share = (-torch.expm1(-limit) * 2.0**32).ceil()
        return (2.0**32 - share - 2**8).clamp(min=0.0).long()

    def _draws(self, keys_n: torch.Tensor, rounds: torch.Tensor, threads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Outputs of each counter, one tensor a component."""
        seed, counter = keys_n[:, :1], keys_n[:, 1:] + rounds
        words = (counter & UINT32, shift(counter, 32), threads & UINT32, shift(threads, 32))
        return philox4x32(words, (seed & UINT32, shift(seed, 32)))

    def _gumbel(self, words_nk: torch.Tensor) -> torch.Tensor:
        uniform = words_nk.float() * 2.0**-32 + 2.0**-33
        exponential = torch.where(uniform >= 1 - 2.0**-24, 2.0**-24, -uniform.double().log())
        return -exponential.log()


class VllmV1Fp64DeviceNoise(VllmV1DeviceNoise):
    """Scheme `vllm-v1-fp64`: two draws of 53 bits a counter."""

    name = VllmV1Fp64Noise.name

    def error(self, g_nk: torch.Tensor) -> torch.Tensor:
        return DeviceNoise.error(self, g_nk)

    def least_word(self, floor_n: torch.Tensor) -> torch.Tensor:
        # As `VllmV1Fp64Noise.above`.
        limit = (-floor_n.clamp(-700.0, 700.0)).exp() * (1 + 4 * RACE_ERROR)
        share = (-torch.expm1(-limit) * 2.0**53).ceil()
        return (2.0**53 - share - 4).clamp(min=0.0).long()

    def _draws(self, keys_n: torch.Tensor, rounds: torch.Tensor, threads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, y, z, w = super()._draws(keys_n, rounds, threads)
        return x ^ (y << 21), z ^ (w << 21)

    def _gumbel(self, words_nk: torch.Tensor) -> torch.Tensor:
        uniform = words_nk.double() * 2.0**-53 + 2.0**-54
        exponential = torch.where(uniform >= 1 - 2.0**-53, 2.0**-53, -uniform.log())
        return -exponential.log()
