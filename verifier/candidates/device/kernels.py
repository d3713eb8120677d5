"""Triton kernels of the reduction. Without Triton, torch gives the same results more slowly."""

import importlib.util
from functools import cache

import torch

from weightwarden.verifier.candidates.device.draws import DeviceDraws
from weightwarden.verifier.candidates.device.noise import VllmCpuDeviceNoise, VllmV2DeviceNoise
from weightwarden.verifier.candidates.device.top_logits import Head, Pass

_GROUPS = 2048
_RESERVE = 64
"""Reserve of places for tokens that tie with the last of a head, or lie above it in the group of another."""
_MAX_PLACES = 512
_SCAN_BLOCK, _SCAN_STEPS = 1024, 16
_SCAN_SCHEMES = {VllmV2DeviceNoise.name: 0, VllmCpuDeviceNoise.name: 1}


@cache
def has_kernels() -> bool:
    """True if Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def _places(size: int) -> int:
    """Smallest power of two that holds a head and its reserve."""
    return 1 << (size + _RESERVE - 1).bit_length()


def can_select(logits_nv: torch.Tensor, size: int) -> bool:
    """True if `select` can find heads of that size."""
    return _places(size) <= _MAX_PLACES and size < logits_nv.shape[1] and logits_nv.stride(1) == 1


def select(logits_nv: torch.Tensor, wanted: Pass) -> Head:
    """`head_of` by kernels: two reads of each row, the second often from cache.

    A row with more ties at the end of the head than places is marked in `Head.cut_short_n`.
    """
    from weightwarden.verifier.candidates.device.triton_kernels import find_largest, sort_largest

    n, vocabulary = logits_nv.shape
    places, device = _places(wanted.size), logits_nv.device
    keys = torch.empty((n, places), dtype=torch.int64, device=device)
    counts = torch.zeros(n, dtype=torch.int32, device=device)
    ranks = torch.empty(n, dtype=torch.int32, device=device)
    top, sums = torch.empty((2, n), dtype=torch.float32, device=device)
    find_largest[(n,)](
        logits_nv,
        logits_nv.stride(0),
        vocabulary,
        wanted.size,
        wanted.claimed_n.contiguous(),
        (1.0 / wanted.temperature_n).float().contiguous(),
        wanted.min_p_offset_n.float().contiguous(),
        keys,
        counts,
        top,
        sums,
        ranks,
        GROUPS=_GROUPS,
        PLACES=places,
        MASS=wanted.mass,
        num_warps=8,
    )
    values = torch.empty((n, wanted.size), dtype=torch.float64, device=device)
    ids = torch.empty((n, wanted.size), dtype=torch.int64, device=device)
    sort_largest[(n,)](keys, counts, wanted.size, values, ids, PLACES=places, num_warps=1)
    top_n = top.double()
    values[:, 0] = top_n  # nan if the row holds one
    nothing = torch.full_like(top_n, torch.nan)
    return Head(
        values_nk=values,
        ids_nk=ids,
        log_mass_n=sums.double().log() + top_n / wanted.temperature_n if wanted.mass else nothing,
        rank_n=ranks.long(),
        cut_short_n=counts > places,
    )


def scan(
    logits_nv: torch.Tensor,
    draws: DeviceDraws,
    least_n: torch.Tensor,
    floor_n: torch.Tensor,
    last_n: torch.Tensor,
    places: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens not above the end of the head whose word reaches `least_n` and whose perturbed logit may reach `floor_n`.

    Returns:
        Rows and token ids, int64 [places], in any order, 0 where unused; and the number of tokens found, which may
            exceed the places.
    """
    from weightwarden.verifier.candidates.device.triton_kernels import scan_tail

    assert draws.noise is not None
    n, vocabulary = logits_nv.shape
    found = torch.zeros((2, places), dtype=torch.int64, device=logits_nv.device)
    counter = torch.zeros((), dtype=torch.int32, device=logits_nv.device)
    parts = -(-vocabulary // (_SCAN_BLOCK * _SCAN_STEPS))
    scan_tail[(n, parts)](
        logits_nv,
        logits_nv.stride(0),
        vocabulary,
        *(t.contiguous() for t in (draws.keys_n, least_n, floor_n, last_n, draws.temperature_n)),
        found[0],
        found[1],
        counter,
        places,
        SCHEME=_SCAN_SCHEMES[draws.noise.name],
        BLOCK=_SCAN_BLOCK,
        STEPS=_SCAN_STEPS,
        num_warps=4,
    )
    return found[0], found[1], counter.long()


def can_scan(draws: DeviceDraws) -> bool:
    """True if there is a kernel for the scheme's hash."""
    return draws.noise is not None and draws.noise.name in _SCAN_SCHEMES
