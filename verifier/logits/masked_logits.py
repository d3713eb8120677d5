"""Masks applied to rows of logits on the device that holds them."""

from functools import cache

import numpy as np
import torch

from weightwarden.verifier.logits.token_masks import TokenMasks

_HOST_ROWS = 4
"""Number of rows masked at a time on a CPU, so that their limits stay in cache."""
_DEVICE_ELEMENTS = 1 << 24
"""Number of limits held at a time on another device."""


def mask_logits(logits_nv: torch.Tensor, masks: TokenMasks) -> None:
    """Set the logits of all tokens that are not allowed to -inf, in place, on any device.

    The distinct masks go to the device packed, in one copy.
    """
    device, vocabulary = logits_nv.device, logits_nv.shape[1]
    distinct = torch.from_numpy(np.ascontiguousarray(masks.distinct_uw).view(np.int32))
    mask_of_n = torch.from_numpy(masks.mask_of_n)
    if device.type == "cuda":
        distinct, mask_of_n = (one.pin_memory().to(device, non_blocking=True) for one in (distinct, mask_of_n))
    distinct_ub = distinct.view(torch.uint8)
    limits_of = limits_by_table if device.type == "cpu" else limits_by_bits
    step = _HOST_ROWS if device.type == "cpu" else max(1, _DEVICE_ELEMENTS // vocabulary)
    for start in range(0, len(masks), step):
        rows = logits_nv[start : start + step]
        bytes_nb = distinct_ub.index_select(0, mask_of_n[start : start + step])
        torch.minimum(rows, limits_of(bytes_nb, logits_nv.dtype)[:, :vocabulary], out=rows)


def limits_by_table(bytes_nb: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Upper limits of the logits of masks [n, 8 x bytes], +inf where a token is allowed: fast on a CPU."""
    table = _table(bytes_nb.device, dtype)
    return table.index_select(0, bytes_nb.flatten().int()).view(len(bytes_nb), -1)


def limits_by_bits(bytes_nb: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same limits, from the bits of each byte: fast on a GPU, where short rows of a table are slow to gather."""
    bits = (bytes_nb[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=bytes_nb.device)) & 1
    infinity = torch.full((), torch.inf, dtype=dtype, device=bytes_nb.device)  # made there: no copy that waits
    return torch.where(bits.bool(), infinity, -infinity).flatten(1)


@cache
def _table(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Upper limits of the logits of eight tokens for every byte of a mask, [256, 8]."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return torch.where(torch.from_numpy(bits).bool(), torch.inf, -torch.inf).to(device, dtype)
