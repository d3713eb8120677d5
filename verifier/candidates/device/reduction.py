"""`gumbel_candidates` of whole rows on the device that holds them. One small copy of candidates returns to the host."""

from dataclasses import dataclass

import torch

from weightwarden.verifier.candidates.device.draws import DeviceDraws
from weightwarden.verifier.candidates.device.kernels import can_scan, can_select, select
from weightwarden.verifier.candidates.device.support import DeviceSupport, boundary, logit_distance, support_of_head
from weightwarden.verifier.candidates.device.tail import Tail, no_tail, tail_of
from weightwarden.verifier.candidates.device.top_logits import Head, Pass, TopKMethod, head_of
from weightwarden.verifier.candidates.window import Window

EXACT, UNFINISHED, CONTRADICTED, NOT_FINITE = 1, 2, 4, 8
"""Bits of a position's flags."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of the reduction of rows. It follows from the filters, so that no step waits for the device.

    Attributes:
        size: width of the head.
        mass: whether some row may need the probability beyond its head.
        tail: whether some row's support may reach beyond its head, whatever top-p.
        places_per_row: mean number of places for candidates besides the claimed one, for the head and for the tail
            each.
    """

    size: int
    mass: bool
    tail: bool
    selection: TopKMethod
    places_per_row: int


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """Candidates of n positions, still on the device. The numbers of an entry are score, distance, and masses by level.

    Attributes:
        claimed_numbers: float64 [n, 2 + 2 e], one entry a position.
        claimed_words: int32 [n, 3]: flags, logit rank, rank among the perturbed logits.
        other_numbers: float64 [c, 2 + 2 e] of the other candidates: those of the head row by row in the order of
            columns, then those of the tail in any order.
        other_words: int32 [c, 2] (row, token) of the other candidates, in the same order.
        counts: int64 [4]: entries of the head, entries of the tail, entries of either without a place, tail tokens
            lost.
        head_places: index of the first entry of the tail.
    """

    claimed_numbers: torch.Tensor
    claimed_words: torch.Tensor
    other_numbers: torch.Tensor
    other_words: torch.Tensor
    counts: torch.Tensor
    head_places: int

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Tensors to copy to the host, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}


def reduced(logits_nv: torch.Tensor, draws: DeviceDraws, window: Window, plan: Plan) -> Reduced:
    """Candidates of positions. The steps and the results are those of `gumbel_candidates`.

    Where a head does not reach past its row's cuts, or past a nucleus, the position is flagged UNFINISHED, to be
    reduced again with a wider head. No probability beyond a head is ever placed.
    """
    filters, slack = draws.filters, window.logit_slacks[-1]
    mass_slack_n = window.mass_slack / filters.temperature_n
    whole = plan.size >= logits_nv.shape[1]

    # 1, 2
    head = _head(logits_nv, draws, plan)
    log_mass_n, beyond, nucleus = _reach(head, draws, slack, whole)
    support = support_of_head(head.values_nk, filters, log_mass_n, window.logit_slacks)
    beyond &= ~nucleus | (support.mass_above_min_nke[:, -1, -1] < filters.top_p_n + mass_slack_n)
    unfinished = _unfinished(head, draws, window, beyond & nucleus, logits_nv.shape[1])

    # 3
    perturbation_nk, error_nk = draws.perturbation(head.ids_nk)
    scores = head.values_nk + perturbation_nk
    masses = support.mass_above_min_nke[:, :, -1], support.mass_above_max_nke[:, :, -1]
    sure, possible = boundary(support.logit_distance_nk, *masses, filters.top_p_n, slack, mass_slack_n)
    best_sure_n = torch.where(sure, scores - error_nk, -torch.inf).amax(dim=1)
    nominal_scores = torch.where(support.nominal_nk, scores, -torch.inf)
    best_nominal_n = nominal_scores.amax(dim=1)
    winner_n = torch.where(nominal_scores == best_nominal_n[:, None], head.ids_nk, logits_nv.shape[1]).amin(dim=1)

    # 4
    tail = no_tail(scores)
    if plan.tail and not whole:
        open_n = beyond & ~nucleus & ~unfinished
        places = plan.places_per_row * len(scores) if plan.selection == "kernel" and can_scan(draws) else None
        tail = tail_of(logits_nv, draws, head, open_n, best_sure_n - window.margin, places)
        tail_sure = tail.valid_h & (tail.distance_h >= slack)
        best_sure_n = _raised(best_sure_n, tail.row_h, torch.where(tail_sure, tail.score_h - tail.error_h, -torch.inf))
        tail_nominal = tail.valid_h & (tail.distance_h >= 0)
        tail_scores = torch.where(tail_nominal, tail.score_h, -torch.inf)
        best_n = _raised(best_nominal_n, tail.row_h, tail_scores)
        lowest_n = torch.full_like(winner_n, logits_nv.shape[1]).scatter_reduce(
            0,
            tail.row_h,
            torch.where(tail_scores == best_n[tail.row_h], tail.token_h, logits_nv.shape[1]),
            "amin",
        )
        winner_n = torch.where(best_n > best_nominal_n, lowest_n, winner_n)
    floor_n = best_sure_n - window.margin

    # 5
    claimed_numbers, claimed_error_n = _claimed(logits_nv, draws, head, support, window)
    claimed_score_n = claimed_numbers[:, 0]
    gumbel_rank_n = 1 + (nominal_scores > claimed_score_n[:, None]).sum(dim=1)
    if len(tail.row_h):
        gumbel_rank_n.index_add_(0, tail.row_h, (tail_scores > claimed_score_n[tail.row_h]).long())
    flags = (
        EXACT * (winner_n == draws.claimed_n).int()
        + UNFINISHED * unfinished.int()
        + CONTRADICTED * (claimed_score_n + claimed_error_n < floor_n).int()
        + NOT_FINITE * (~head.values_nk[:, 0].isfinite()).int()
    )
    rank_n = torch.where(draws.raw_rank_n > 0, draws.raw_rank_n, head.rank_n)
    kept = possible & (scores + error_nk >= floor_n[:, None]) & (head.ids_nk != draws.claimed_n[:, None])
    numbers, words, counts = _others(
        draws, head, scores, support, kept & ~unfinished[:, None], tail, floor_n, slack, plan
    )
    return Reduced(
        claimed_numbers=claimed_numbers,
        claimed_words=torch.stack([flags, rank_n.int(), gumbel_rank_n.int()], dim=1),
        other_numbers=numbers,
        other_words=words,
        counts=counts,
        head_places=min(plan.places_per_row * len(scores), scores.numel()),
    )


def _head(logits_nv: torch.Tensor, draws: DeviceDraws, plan: Plan) -> Head:
    wanted = Pass(
        size=plan.size,
        claimed_n=draws.claimed_n,
        temperature_n=draws.filters.temperature_n,
        min_p_offset_n=draws.filters.min_p_offset_n,
        mass=plan.mass,
    )
    if plan.selection == "kernel" and can_select(logits_nv, plan.size):
        return select(logits_nv, wanted)
    return head_of(logits_nv, wanted, "topk" if plan.selection == "topk" else "blocked")


def _reach(
    head: Head, draws: DeviceDraws, slack: float, whole: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mass and the reach of each row.

    Returns:
        The mass of each row where its head does not hold it all, else nan; whether the support may reach beyond the
            head by top-k and min-p; whether the row has a nucleus.
    """
    nucleus = draws.filters.top_p_n < 1
    if draws.noise is None or whole:
        beyond = torch.zeros_like(nucleus)
    else:
        beyond = logit_distance(head.values_nk[:, -1:], head.values_nk, draws.filters)[:, 0] > -slack
    return torch.where(beyond & nucleus, head.log_mass_n, torch.nan), beyond, nucleus


def _unfinished(head: Head, draws: DeviceDraws, window: Window, wide_n: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Rows that need a wider head; none where the head is the whole row."""
    if head.values_nk.shape[1] >= vocabulary:
        return torch.zeros_like(wide_n)
    if draws.noise is None:
        return head.cut_short_n | (head.values_nk[:, -1] >= head.values_nk[:, 0] - window.margin)
    distance = logit_distance(head.values_nk[:, -1:], head.values_nk, draws.filters)[:, 0]
    return head.cut_short_n | wide_n | ((draws.filters.top_k_n < vocabulary) & (distance > -window.logit_slacks[-1]))


def _raised(best_n: torch.Tensor, row_h: torch.Tensor, score_h: torch.Tensor) -> torch.Tensor:
    return best_n.scatter_reduce(0, row_h, score_h, "amax")


def _claimed(
    logits_nv: torch.Tensor,
    draws: DeviceDraws,
    head: Head,
    support: DeviceSupport,
    window: Window,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers [n, 2 + 2 e] of the claimed tokens, in the head or below it, and the errors [n] of their scores.

    For a token below the head of a row with a nucleus, the whole nucleus is above the token; otherwise the row is
    unfinished.
    """
    token = draws.claimed_n[:, None]
    value = logits_nv.gather(1, token).double()
    perturbation, error = draws.perturbation(token)
    distance = logit_distance(value, head.values_nk, draws.filters)
    match = head.ids_nk == token
    at = match.int().argmax(dim=1)[:, None, None].expand(-1, 1, len(window.logit_slacks))
    inside = match.any(dim=1)[:, None]
    outside = (draws.filters.top_p_n < 1).double()[:, None]
    least = torch.where(inside, support.mass_above_min_nke.gather(1, at)[:, 0], outside)
    most = torch.where(inside, support.mass_above_max_nke.gather(1, at)[:, 0], outside)
    return torch.cat([value + perturbation, distance, least, most], dim=1), error[:, 0]


def _others(
    draws: DeviceDraws,
    head: Head,
    scores_nk: torch.Tensor,
    support: DeviceSupport,
    kept_nk: torch.Tensor,
    tail: Tail,
    floor_n: torch.Tensor,
    slack: float,
    plan: Plan,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Numbers, words and counts of the candidates besides the claimed ones (see `Reduced`)."""
    n, width = scores_nk.shape
    places = min(plan.places_per_row * n, n * width)
    at, in_head = _places(kept_nk.flatten(), places)
    row, column = at // width, at % width
    masses = support.mass_above_min_nke.flatten(0, 1)[at], support.mass_above_max_nke.flatten(0, 1)[at]
    pair = torch.stack([scores_nk.flatten()[at], support.logit_distance_nk.flatten()[at]], dim=1)
    numbers = torch.cat([pair, *masses], dim=1)
    words = torch.stack([row.int(), head.ids_nk[row, column].int()], dim=1)
    if not len(tail.row_h):
        counts = torch.stack([in_head, in_head.new_zeros(()), (in_head - places).clamp(min=0), tail.lost])
        return numbers, words, counts
    kept_h = tail.valid_h & (tail.distance_h > -slack)
    kept_h &= (tail.score_h + tail.error_h >= floor_n[tail.row_h]) & (tail.token_h != draws.claimed_n[tail.row_h])
    tail_places = min(plan.places_per_row * n, len(tail.row_h))
    at, in_tail = _places(kept_h, tail_places)
    pair = torch.stack([tail.score_h[at], tail.distance_h[at]], dim=1)
    numbers = torch.cat(
        [numbers, torch.nn.functional.pad(pair, (0, numbers.shape[1] - 2))]
    )  # no nucleus: no mass counts
    words = torch.cat([words, torch.stack([tail.row_h[at].int(), tail.token_h[at].int()], dim=1)])
    lost = (in_head - places).clamp(min=0) + (in_tail - tail_places).clamp(min=0)
    return numbers, words, torch.stack([in_head, in_tail, lost, tail.lost])


def _places(kept: torch.Tensor, places: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices [places] of the first true values, 0 where unused, and their number. Does not wait for the device."""
    order = kept.cumsum(dim=0)
    count = order[-1]
    target = torch.where(kept & (order <= places), order - 1, places)
    source = torch.arange(len(kept), device=kept.device)
    return source.new_zeros(places + 1).scatter_(0, target, source)[:places], count
