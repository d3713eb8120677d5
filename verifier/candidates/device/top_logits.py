"""One pass over whole rows: their largest logits, their mass, the rank of the claimed token."""

from dataclasses import dataclass
from typing import Literal

import torch

TopKMethod = Literal["kernel", "blocked", "topk"]
"""How the largest logits are found: a Triton kernel; maxima of blocks, then the blocks that hold them; torch alone."""

_STRIDE_GROUP = 32
"""Tokens whose maximum is taken first."""
_MASS_ELEMENTS = 1 << 26
"""Logits of which exponentials are held at a time."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of n rows, and what else takes a pass over them.

    Attributes:
        values_nk: the largest logits, descending, float64. ids_nk: their token ids, int64.
        log_mass_n: ln of the sum of exp(logit / temperature) over the logits >= the min-p cut, float64; nan where it
            was not asked for.
        rank_n: how many logits of the row are not smaller than the claimed token's, int64.
        cut_short_n: whether some of the largest are missing, so that the row must be looked at again; bool.
    """

    values_nk: torch.Tensor
    ids_nk: torch.Tensor
    log_mass_n: torch.Tensor
    rank_n: torch.Tensor
    cut_short_n: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What to take from a pass over rows.

    Attributes:
        size: width of the head, tokens.
        claimed_n: token ids, int64.
        temperature_n, min_p_offset_n: of the filters, float64.
        mass: whether `log_mass_n` is wanted.
    """

    size: int
    claimed_n: torch.Tensor
    temperature_n: torch.Tensor
    min_p_offset_n: torch.Tensor
    mass: bool


def largest(logits_nv: torch.Tensor, size: int, selection: TopKMethod) -> tuple[torch.Tensor, torch.Tensor]:
    """The `size` largest logits of each row, descending, and their ids; of tied ones at the end, any."""
    vocabulary = logits_nv.shape[1]
    groups = vocabulary // _STRIDE_GROUP
    if selection == "topk" or 4 * size >= groups:
        values, ids = logits_nv.topk(size)
        return values, ids
    # The largest tokens stand in the groups with the largest maxima; group j is j, j + groups, j + 2 groups, ...
    body = logits_nv[:, : groups * _STRIDE_GROUP].view(-1, _STRIDE_GROUP, groups)
    chosen = body.amax(dim=1).topk(size, sorted=False).indices
    offsets = torch.arange(_STRIDE_GROUP, device=logits_nv.device) * groups
    ids = (chosen[:, :, None] + offsets).flatten(1)
    rest = torch.arange(groups * _STRIDE_GROUP, vocabulary, device=logits_nv.device)
    ids = torch.cat([ids, rest.expand(len(ids), -1)], dim=1)
    values, at = logits_nv.gather(1, ids).topk(size)
    return values, ids.gather(1, at)


def head_of(logits_nv: torch.Tensor, wanted: Pass, selection: TopKMethod) -> Head:
    """The pass, in torch alone."""
    values, ids = largest(logits_nv, wanted.size, selection)
    values = values.double()
    limit = logits_nv.gather(1, wanted.claimed_n[:, None])
    return Head(
        values_nk=values,
        ids_nk=ids,
        log_mass_n=log_mass(logits_nv, values[:, 0], wanted)
        if wanted.mass
        else torch.full_like(values[:, 0], torch.nan),
        rank_n=(logits_nv >= limit).sum(dim=1),
        cut_short_n=torch.zeros_like(ids[:, 0], dtype=torch.bool),
    )


def log_mass(logits_nv: torch.Tensor, largest_n: torch.Tensor, wanted: Pass) -> torch.Tensor:
    """See `Head.log_mass_n`; weights in float32."""
    scale = (1.0 / wanted.temperature_n).float()[:, None]
    top, limit = largest_n.float()[:, None], (largest_n + wanted.min_p_offset_n).float()[:, None]
    sums = []
    step = max(1, _MASS_ELEMENTS // logits_nv.shape[1])
    for start in range(0, len(logits_nv), step):
        block = slice(start, start + step)
        values = logits_nv[block].float()
        weights = ((values - top[block]) * scale[block]).exp_().mul_(values >= limit[block])
        sums.append(weights.sum(dim=1))
    return torch.cat(sums).double().log() + largest_n / wanted.temperature_n
