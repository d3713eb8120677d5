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

    The distinct masks go to the device packed, in one copy. Every byte of a row's mask is looked up in a table of eight
    limits, +inf where a token is allowed.
    """
    device, vocabulary = logits_nv.device, logits_nv.shape[1]
    limits = _limits(device, logits_nv.dtype)
    distinct = torch.from_numpy(np.ascontiguousarray(masks.distinct_uw).view(np.int32))
    mask_of_n = torch.from_numpy(masks.mask_of_n)
    if device.type == "cuda":
        distinct, mask_of_n = (one.pin_memory().to(device, non_blocking=True) for one in (distinct, mask_of_n))
    distinct_ub = distinct.view(torch.uint8)
    step = _HOST_ROWS if device.type == "cpu" else max(1, _DEVICE_ELEMENTS // vocabulary)
    for start in range(0, len(masks), step):
        rows = logits_nv[start : start + step]
        bytes_nb = distinct_ub.index_select(0, mask_of_n[start : start + step])
        limit = limits.index_select(0, bytes_nb.flatten().int()).view(len(rows), -1)[:, :vocabulary]
        torch.minimum(rows, limit, out=rows)


@cache
def _limits(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Upper limits of the logits of eight tokens for every byte of a mask, [256, 8]."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return torch.where(torch.from_numpy(bits).bool(), torch.inf, -torch.inf).to(device, dtype)
