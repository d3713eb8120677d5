"""One pass over whole rows: their largest logits, their mass, the rank of the claimed token."""

from dataclasses import dataclass
from typing import Literal

import torch

TopKMethod = Literal["kernel", "blocked", "topk"]
"""Method for the largest logits: a Triton kernel; maxima of blocks, then the blocks that hold them; or torch alone."""

_STRIDE_GROUP = 32
"""Number of tokens per group whose maximum is taken first."""
_MASS_ELEMENTS = 1 << 26
"""Number of logits with exponentials held at a time."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of n rows, with the other results of a pass over them.

    Attributes:
        values_nk: the largest logits, descending, float64.
        ids_nk: token ids of the largest logits, int64.
        log_mass_n: ln of the sum of exp(logit / temperature) over the logits >= the min-p cut, float64; nan if not
            requested.
        rank_n: number of logits of the row that are not smaller than the claimed token's, int64.
        cut_short_n: whether some of the largest are missing, so that the row must be read again; bool.
    """

    values_nk: torch.Tensor
    ids_nk: torch.Tensor
    log_mass_n: torch.Tensor
    rank_n: torch.Tensor
    cut_short_n: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Parameters of a pass over rows.

    Attributes:
        size: width of the head, tokens.
        claimed_n: token ids, int64.
        temperature_n: temperature of the filters, float64.
        min_p_offset_n: min-p cut of the filters, logits relative to the largest, float64.
        mass: whether `log_mass_n` is requested.
    """

    size: int
    claimed_n: torch.Tensor
    temperature_n: torch.Tensor
    min_p_offset_n: torch.Tensor
    mass: bool


def largest(logits_nv: torch.Tensor, size: int, selection: TopKMethod) -> tuple[torch.Tensor, torch.Tensor]:
    """The `size` largest logits of each row, descending, and their ids. Ties at the end are broken arbitrarily."""
    vocabulary = logits_nv.shape[1]
    groups = vocabulary // _STRIDE_GROUP
    if selection == "topk" or 4 * size >= groups:
        values, ids = logits_nv.topk(size)
        return values, ids
    # The largest tokens lie in the groups with the largest maxima; group j is j, j + groups, j + 2 groups, ...
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
