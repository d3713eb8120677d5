"""Draw parameters of positions, on the device that holds their logits."""

from dataclasses import dataclass

import numpy as np
import torch

from weightwarden.verifier.candidates.device.noise import DeviceNoise
from weightwarden.verifier.candidates.device.support import DeviceFilters, min_p_offset
from weightwarden.verifier.candidates.draws import Draws


@dataclass(frozen=True, kw_only=True)
class DeviceDraws:
    """`Draws` of n positions on the device; float64 and int64.

    Attributes:
        keys_n: keys of the noise, int64, [n] or [n, words].
    """

    claimed_n: torch.Tensor
    temperature_n: torch.Tensor
    filters: DeviceFilters
    noise: DeviceNoise | None
    keys_n: torch.Tensor
    raw_rank_n: torch.Tensor

    def perturbation(self, ids_nk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """temperature * g of candidates [n, k], and the largest error of the engine's own; logits, 0 when greedy."""
        if self.noise is None:
            zeros = torch.zeros(ids_nk.shape, dtype=torch.float64, device=ids_nk.device)
            return zeros, zeros
        g = self.noise.at(self.keys_n, ids_nk)
        return self.temperature_n[:, None] * g, self.temperature_n[:, None] * self.noise.error(g)

    def take(self, rows: torch.Tensor) -> "DeviceDraws":
        """The draws of some of the positions."""
        return DeviceDraws(
            claimed_n=self.claimed_n[rows],
            temperature_n=self.temperature_n[rows],
            filters=self.filters.take(rows),
            noise=self.noise,
            keys_n=self.keys_n[rows],
            raw_rank_n=self.raw_rank_n[rows],
        )


def on_device(draws: Draws, noise: DeviceNoise | None, device: torch.device) -> DeviceDraws:
    """Draws on the device, by two small copies that do not wait for it."""
    filters = draws.filters
    claimed = torch.from_numpy(draws.claimed_n)
    keys = noise.keys(draws.keys_n) if noise is not None and draws.keys_n is not None else torch.zeros_like(claimed)
    whole = torch.cat(
        [
            torch.stack(
                [claimed, torch.from_numpy(filters.top_k_n.astype(np.int64)), torch.from_numpy(draws.raw_rank_n)]
            ),
            keys.reshape(len(claimed), -1).T,
        ]
    )
    real = torch.stack(
        [
            torch.from_numpy(draws.temperature_n),
            torch.from_numpy(filters.temperature_n),
            torch.from_numpy(filters.top_p_n),
            min_p_offset(filters),
        ]
    )
    whole, real = sent(whole, device), sent(real, device)
    return DeviceDraws(
        claimed_n=whole[0],
        temperature_n=real[0],
        filters=DeviceFilters(temperature_n=real[1], top_k_n=whole[1], top_p_n=real[2], min_p_offset_n=real[3]),
        noise=noise,
        keys_n=whole[3] if keys.ndim == 1 else whole[3:].T,
        raw_rank_n=whole[2],
    )


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A host tensor on the device; a copy to a GPU is under way when this returns."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
