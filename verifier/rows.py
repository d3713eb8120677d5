"""Whole rows of logits on the replaying device, and the few numbers that scoring takes from them."""

import numpy as np
import torch

from sampler.logits import LogitAdjustment
from sampler.types import FloatArray, IntArray


class LogitRows:
    """Logits of m output positions over the whole vocabulary, float32 [m, V], on any device.

    Everything that scoring needs leaves the device as arrays of candidates; the [m, V] block never does.
    """

    def __init__(self, logits_mv: torch.Tensor) -> None:
        self._logits = logits_mv

    @property
    def vocabulary(self) -> int:
        return int(self._logits.shape[1])

    def __len__(self) -> int:
        return int(self._logits.shape[0])

    def head(self, rows: IntArray, size: int) -> tuple[FloatArray, IntArray]:
        """The `size` largest logits of each row, descending, and their token ids; float64 and int64 [rows, size]."""
        values, ids = self._select(rows).topk(min(size, self.vocabulary))
        return values.double().cpu().numpy(), ids.cpu().numpy()

    def at(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Logits of (row, token id) pairs, float64 of the pairs' common shape."""
        index = self._index(np.broadcast_to(rows, ids.shape)), self._index(ids)
        values: FloatArray = self._logits[index].double().cpu().numpy()
        return values

    def count_above(self, rows: IntArray, thresholds: FloatArray) -> IntArray:
        """How many logits of each row exceed its threshold, int64 [rows]."""
        limit = torch.from_numpy(thresholds.astype(np.float32)).to(self._logits.device)
        counts = (self._select(rows) > limit[:, None]).sum(dim=1, dtype=torch.int32)
        return counts.cpu().numpy().astype(np.int64)

    def log_mass(self, rows: IntArray, temperature: FloatArray, floor: FloatArray) -> FloatArray:
        """ln of the sum of exp(logit / temperature) over the logits of each row >= its floor, float64 [rows]."""
        exponents, _ = self._exponents(rows, temperature, floor, above=False)
        values: FloatArray = torch.logsumexp(exponents, dim=1).double().cpu().numpy()
        return values

    def log_mass_above(self, rows: IntArray, temperature: FloatArray, floor: FloatArray) -> FloatArray:
        """The same over the logits strictly above the floor; -inf where there is none."""
        exponents, any_left = self._exponents(rows, temperature, floor, above=True)
        values = torch.logsumexp(exponents, dim=1).double().cpu().numpy()
        return np.where(any_left, values, -np.inf)

    def adjust(self, first_row: int, count: int, start: int, adjustment: LogitAdjustment) -> None:
        """Apply a choice's bias, masks and penalties to rows [first_row, first_row + count), in place.

        Args:
            start: output position of the first of these rows.
        """
        rows = self._logits[first_row : first_row + count]
        ids = self._index(adjustment.touched_ids)
        if len(ids):
            raw = rows[:, ids].cpu().numpy()
            rows[:, ids] = torch.from_numpy(adjustment.adjusted(start, raw)).to(rows.device)
        if adjustment.allowed_ids is not None:
            allowed = self._index(adjustment.allowed_ids)
            kept = rows[:, allowed]
            rows.fill_(-torch.inf)
            rows[:, allowed] = kept

    def whole(self, rows: IntArray) -> FloatArray:
        """The rows themselves in float64 [rows, V], for schemes that walk the vocabulary in order."""
        values: FloatArray = self._select(rows).double().cpu().numpy()
        return values

    def _exponents(
        self, rows: IntArray, temperature: FloatArray, floor: FloatArray, *, above: bool
    ) -> tuple[torch.Tensor, np.typing.NDArray[np.bool_]]:
        logits = self._select(rows)
        device = logits.device
        limit = torch.from_numpy(floor.astype(np.float32)).to(device)[:, None]
        scale = torch.from_numpy((1.0 / temperature).astype(np.float32)).to(device)[:, None]
        keep = logits > limit if above else logits >= limit
        exponents = torch.where(keep, logits * scale, -torch.inf)
        return exponents, keep.any(dim=1).cpu().numpy()

    def _select(self, rows: IntArray) -> torch.Tensor:
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self._logits
        return self._logits[self._index(rows)]

    def _index(self, values: IntArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(self._logits.device)
