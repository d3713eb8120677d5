"""Whole rows of logits in the model's dtype, reduced on the device that holds them."""

import torch

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.verifier.candidates.device.noise import device_noise
from weightwarden.verifier.candidates.device.pending import begun
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.pending import PendingTables
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.logits.whole_rows import TorchRows


class DeviceRows(TorchRows):
    """`TorchRows` that are `SelfReducing`; logits of any floating type [m, V], float32 once adjusted."""

    def __init__(self, logits_mv: torch.Tensor, selection: TopKMethod) -> None:
        super().__init__(logits_mv)
        self._selection: TopKMethod = selection

    @property
    def logits(self) -> torch.Tensor:
        """The current logits, [m, V]."""
        return self._logits

    def begin(self, draws: Draws, window: Window) -> PendingTables | None:
        if draws.uniforms_n is not None or draws.by_rank or draws.top_p_of_everything:
            return None
        if (self.steepest() > 1).any():  # slopes are looked up on the host
            return None
        noise = None if draws.noise is None else device_noise(draws.noise)
        if draws.noise is not None and noise is None:
            return None
        return begun(self._logits, draws, noise, window, self._selection)

    def adjust(self, first_row: int, count: int, start: int, adjustment: LogitAdjustment) -> None:
        self._logits = self._logits.float()
        super().adjust(first_row, count, start, adjustment)
