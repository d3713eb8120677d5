"""Whole rows of logits as a torch tensor on the replaying device."""

import numpy as np
import torch
from numpy.typing import NDArray

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.errors import UndefinedRow
from weightwarden.verifier.logits.masked_logits import mask_logits
from weightwarden.verifier.logits.row_slopes import RowSlopes
from weightwarden.verifier.logits.token_masks import TokenMasks

_CACHE_ROWS = 8
"""Number of rows reduced at a time where temporaries are made, so that they stay in cache."""


class TorchRows:
    """`LogitRows` of m output positions over a float32 tensor [m, V] on any device, which `adjust` changes in place."""

    def __init__(self, logits_mv: torch.Tensor) -> None:
        self._logits = logits_mv
        self._slopes = RowSlopes(len(logits_mv))

    @property
    def vocabulary(self) -> int:
        return int(self._logits.shape[1])

    @property
    def whole(self) -> bool:
        return True

    def __len__(self) -> int:
        return int(self._logits.shape[0])

    def head(self, rows: IntArray, size: int) -> tuple[FloatArray, IntArray]:
        values, ids = self._select(rows).topk(min(size, self.vocabulary))
        if not torch.isfinite(values[:, 0]).all():  # nan sorts above everything
            raise UndefinedRow("the replay gave a row of logits with no finite maximum; try --dtype float32")
        return values.double().cpu().numpy(), ids.cpu().numpy()

    def at(self, rows: IntArray, ids: IntArray) -> FloatArray:
        index = self._index(np.broadcast_to(rows, ids.shape)), self._index(ids)
        values: FloatArray = self._logits[index].double().cpu().numpy()
        return values

    def rank(self, rows: IntArray, claimed: IntArray) -> IntArray:
        limit = self._logits[self._index(rows), self._index(claimed)]
        counts = (self._select(rows) >= limit[:, None]).sum(dim=1, dtype=torch.int32)
        return counts.cpu().numpy().astype(np.int64)

    def ceilings(self) -> FloatArray:
        return np.full(len(self), -np.inf)

    def bounds(self, rows: IntArray, ids: IntArray) -> FloatArray:
        return np.full(len(rows), -np.inf)

    def drawn(self) -> IntArray:
        return np.full(len(self), -1)

    def claim_only(self) -> IntArray:
        return np.full(len(self), -1)

    def draw_again(self) -> bool:
        return False

    def deepen(self, rows: IntArray) -> bool:
        return False

    def log_mass(self, rows: IntArray, temperature: FloatArray, floor: FloatArray, largest: FloatArray) -> FloatArray:
        device = self._logits.device
        scale = torch.from_numpy((1.0 / temperature).astype(np.float32)).to(device)[:, None]
        top = torch.from_numpy(largest.astype(np.float32)).to(device)[:, None]
        limit = torch.from_numpy(floor.astype(np.float32)).to(device)[:, None]
        sums = torch.empty(len(rows), dtype=torch.float32, device=device)
        for start in range(0, len(rows), _CACHE_ROWS):
            block = slice(start, start + _CACHE_ROWS)
            values = self._logits[self._index(rows[block])]
            weights = ((values - top[block]) * scale[block]).exp_()
            if np.isfinite(floor[block]).any():
                weights.mul_(values >= limit[block])
            sums[block] = weights.sum(dim=1)
        mass: FloatArray = np.log(sums.double().cpu().numpy()) + largest / temperature
        return mass

    def mask(self, first_row: int, masks: TokenMasks) -> None:
        mask_logits(self._logits[first_row : first_row + len(masks)], masks)

    def candidates(self) -> IntArray:
        return np.full(len(self), self.vocabulary)

    def adjust(self, first_row: int, count: int, start: int, adjustment: LogitAdjustment) -> None:
        rows = self._logits[first_row : first_row + count]
        ids = self._index(adjustment.touched_ids)
        if len(ids):
            raw = rows[:, ids].cpu().numpy()
            self._slopes.add(first_row, start, adjustment, raw)
            rows[:, ids] = torch.from_numpy(adjustment.adjusted(start, raw)).to(rows.device)
        if adjustment.allowed_ids is not None:
            allowed = self._index(adjustment.allowed_ids)
            kept = rows[:, allowed]
            rows.fill_(-torch.inf)
            rows[:, allowed] = kept

    def slopes(self, rows: IntArray, ids: IntArray) -> FloatArray:
        return self._slopes.at(rows, ids)

    def steepest(self) -> FloatArray:
        return self._slopes.steepest()

    def row(self, row: int) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._logits[row].cpu().numpy()
        return values

    def _select(self, rows: IntArray) -> torch.Tensor:
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self._logits
        return self._logits[self._index(rows)]

    def _index(self, values: IntArray) -> torch.Tensor:
        return torch.from_numpy(np.array(values, dtype=np.int64)).to(self._logits.device)
