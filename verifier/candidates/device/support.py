"""`sampler.support` for whole rows, in torch: the head against the cuts, on the device that holds it."""

from dataclasses import dataclass, fields
from typing import Self

import torch

from weightwarden.sampler.support import Filters


@dataclass(frozen=True, kw_only=True)
class DeviceFilters:
    """`Filters` of n positions on the device: float64, top_k int64. A filter that is off has its neutral value."""

    temperature_n: torch.Tensor
    top_k_n: torch.Tensor
    top_p_n: torch.Tensor
    min_p_offset_n: torch.Tensor

    def take(self, rows: torch.Tensor) -> Self:
        """The filters of some of the positions."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class DeviceSupport:
    """`Support` of whole rows."""

    nominal_nk: torch.Tensor
    logit_distance_nk: torch.Tensor
    mass_above_min_nke: torch.Tensor
    mass_above_max_nke: torch.Tensor


def min_p_offset(filters: Filters) -> torch.Tensor:
    """The min-p cut [n], logits relative to the largest; float64, on the host."""
    return torch.from_numpy(filters.min_p_offset())


def counts_above(descending_nk: torch.Tensor, thresholds_nq: torch.Tensor, *, inclusive: bool = False) -> torch.Tensor:
    """Number of each row's values that exceed each of its thresholds, int64 [n, q]."""
    return torch.searchsorted((-descending_nk).contiguous(), (-thresholds_nq).contiguous(), right=inclusive)


def logit_distance(values_nk: torch.Tensor, head_nk: torch.Tensor, filters: DeviceFilters) -> torch.Tensor:
    """`sampler.support.logit_distance`."""
    width = head_nk.shape[1]
    distance = values_nk - head_nk[:, :1] - filters.min_p_offset_n[:, None]
    cut_n = filters.top_k_n < width
    last = head_nk.gather(1, filters.top_k_n.clamp(max=width)[:, None] - 1)
    first_out = head_nk.gather(1, filters.top_k_n.clamp(max=width - 1)[:, None])
    from_top_k = torch.where(values_nk >= last, values_nk - first_out, values_nk - last)
    from_top_k = from_top_k.nan_to_num(-torch.inf, torch.inf, -torch.inf)  # -inf minus -inf: masked, outside everything
    distance = torch.where(cut_n[:, None], torch.minimum(distance, from_top_k), distance)
    return torch.where(values_nk == -torch.inf, -torch.inf, distance)


def support_of_head(
    head_nk: torch.Tensor, filters: DeviceFilters, log_mass_n: torch.Tensor, slack_levels: tuple[float, ...]
) -> DeviceSupport:
    """`sampler.support.support_of_head` of whole rows.

    Args:
        head_nk: the largest logits, float64, descending.
        log_mass_n: ln of the sum of exp(logit / temperature) over the tokens that min-p and top-k keep, where these
            reach beyond the head; nan where the head itself gives it.
    """
    width = head_nk.shape[1]
    last = filters.top_k_n.clamp(max=width)[:, None] - 1
    threshold_n = torch.where(filters.top_k_n <= width, head_nk.gather(1, last)[:, 0], -torch.inf)
    floor_n = torch.maximum(threshold_n, head_nk[:, 0] + filters.min_p_offset_n)
    kept = (head_nk >= floor_n[:, None]) & head_nk.isfinite()
    exponents = (head_nk - head_nk[:, :1]) / filters.temperature_n[:, None]
    weights = torch.where(kept, exponents, -torch.inf).exp()
    given_n = (log_mass_n - head_nk[:, 0] / filters.temperature_n).exp()
    total_n = torch.where(log_mass_n.isnan(), weights.sum(dim=1), given_n)
    shares = weights / total_n[:, None]
    cumulative = torch.nn.functional.pad(weights.cumsum(dim=1), (1, 0)) / total_n[:, None]
    above = cumulative.gather(1, counts_above(head_nk, head_nk))
    least = [cumulative.gather(1, counts_above(head_nk, head_nk + e)) for e in slack_levels]
    most = [cumulative.gather(1, counts_above(head_nk, head_nk - e, inclusive=True)) - shares for e in slack_levels]
    top_p = filters.top_p_n[:, None]
    return DeviceSupport(
        nominal_nk=kept & ((above < top_p) | (top_p >= 1)),
        logit_distance_nk=logit_distance(head_nk, head_nk, filters),
        mass_above_min_nke=torch.stack(least, dim=2),
        mass_above_max_nke=torch.stack(most, dim=2),
    )


def boundary(
    distance_nk: torch.Tensor,
    mass_min_nk: torch.Tensor,
    mass_max_nk: torch.Tensor,
    top_p_n: torch.Tensor,
    logit_slack: float,
    mass_slack_n: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`verifier.candidates.table.boundary`."""
    no_top_p = (top_p_n >= 1)[:, None]
    sure = (distance_nk >= logit_slack) & (no_top_p | (mass_max_nk < (top_p_n - mass_slack_n)[:, None]))
    possible = (distance_nk > -logit_slack) & (no_top_p | (mass_min_nk < (top_p_n + mass_slack_n)[:, None]))
    return sure, possible
