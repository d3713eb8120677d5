"""Tokens below the head whose noise lifts them to the floor of their row."""

from dataclasses import dataclass

import torch

from weightwarden.verifier.candidates.device.draws import DeviceDraws
from weightwarden.verifier.candidates.device.kernels import scan
from weightwarden.verifier.candidates.device.support import logit_distance
from weightwarden.verifier.candidates.device.top_logits import Head


@dataclass(frozen=True, kw_only=True)
class Tail:
    """Tokens [h] outside the head of their row.

    Attributes:
        valid_h: whether the place holds a token.
        score_h: perturbed logit, float64.
        distance_h: logit distance from the cuts, float64.
        error_h: largest difference of the engine's own perturbed logit from `score_h`, logits, float64.
        lost: number of tokens that found no place, int64 scalar. If it is not 0 the reduction must be repeated.
    """

    row_h: torch.Tensor
    token_h: torch.Tensor
    score_h: torch.Tensor
    error_h: torch.Tensor
    distance_h: torch.Tensor
    valid_h: torch.Tensor
    lost: torch.Tensor


def no_tail(like: torch.Tensor) -> Tail:
    """A tail without places."""
    ids = torch.empty(0, dtype=torch.int64, device=like.device)
    real = torch.empty(0, dtype=torch.float64, device=like.device)
    return Tail(
        row_h=ids,
        token_h=ids,
        score_h=real,
        error_h=real,
        distance_h=real,
        valid_h=ids.bool(),
        lost=ids.new_zeros(()),
    )


def tail_of(
    logits_nv: torch.Tensor,
    draws: DeviceDraws,
    head: Head,
    open_n: torch.Tensor,
    floor_n: torch.Tensor,
    places: int | None,
) -> Tail:
    """The tail of the open rows: those with a support that reaches beyond the head, whatever top-p.

    Args:
        floor_n: perturbed logit that a token must reach, float64.
        places: number of tokens to provide for, found by a kernel. None for all tokens, found by torch, which waits for
            the device.
    """
    assert draws.noise is not None
    last_n = head.values_nk[:, -1]
    needed_n = torch.where(open_n, (floor_n - last_n) / draws.temperature_n, torch.inf)
    least_n = torch.where(open_n, draws.noise.least_word(needed_n), torch.iinfo(torch.int64).max)
    if places is None:
        row, token = draws.noise.above(draws.keys_n, least_n, logits_nv.shape[1])
        valid = torch.ones_like(row, dtype=torch.bool)
        lost = row.new_zeros(())
    else:
        row, token, found = scan(logits_nv, draws, least_n, floor_n, last_n, places)
        valid = torch.arange(places, device=row.device) < found
        lost = (found - places).clamp(min=0)
    value = logits_nv[row, token].double()
    at_hits = draws.take(row)
    perturbation, error = (part[:, 0] for part in at_hits.perturbation(token[:, None]))
    score = value + perturbation
    near = value >= last_n[row]
    in_head = near & (head.ids_nk[row] == token[:, None]).any(dim=1)
    valid &= ~in_head & (score + error >= floor_n[row]) & value.isfinite()
    distance = logit_distance(value[:, None], head.values_nk[row], at_hits.filters)[:, 0]
    return Tail(
        row_h=row,
        token_h=token,
        score_h=score,
        error_h=error,
        distance_h=distance,
        valid_h=valid,
        lost=lost,
    )
