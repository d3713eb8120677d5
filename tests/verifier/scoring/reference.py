"""A slow, independent reference of docs/design.md, section 6: one position at a time over the whole vocabulary."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray


@dataclass(frozen=True)
class Reference:
    """What the reference says of one position."""

    margin: float
    exact: bool
    admissible: int
    logit_rank: int


def score_position(
    logits: FloatArray,
    noise: FloatArray,
    claimed: int,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    delta: float,
    logit_slack: float,
    mass_slack: float,
    noise_error: FloatArray | None = None,
) -> Reference:
    """Score one claimed token by enumerating every token; top_k = V, top_p = 1 and min_p = 0 are off.

    Args:
        noise_error: nats by which the engine's noise may differ from `noise`, for every token.
    """
    v = len(logits)
    order = np.sort(logits)[::-1]
    perturbed = logits + temperature * noise
    error = temperature * noise_error if noise_error is not None else np.zeros(v)
    threshold = order[top_k - 1] if top_k < v else -np.inf
    min_p_cut = order[0] + temperature * np.log(min_p) if min_p > 0 else -np.inf
    kept = (logits >= threshold) & (logits >= min_p_cut)
    weights = np.where(kept, np.exp((logits - order[0]) / temperature), 0.0)
    mass = weights / weights.sum()

    sure, possible, nominal = [], [], []
    for i in range(v):
        distance = logits[i] - min_p_cut if min_p > 0 else np.inf
        if top_k < v:
            from_top_k = logits[i] - (order[top_k] if logits[i] >= threshold else threshold)
            distance = min(distance, from_top_k)
        best_case = mass[logits > logits[i] + logit_slack].sum()
        worst_case = mass[logits >= logits[i] - logit_slack].sum() - mass[i]
        slack = mass_slack / temperature
        sure.append(distance >= logit_slack and (top_p >= 1 or worst_case < top_p - slack))
        possible.append(distance > -logit_slack and (top_p >= 1 or best_case < top_p + slack))
        nominal.append(kept[i] and mass[logits > logits[i]].sum() < top_p)
    best = (perturbed - error)[sure].max() if any(sure) else -np.inf
    margins = np.array([max(best - s, 0.0) if p else np.inf for s, p in zip(perturbed + error, possible, strict=True)])
    winner = int(np.where(nominal, perturbed, -np.inf).argmax())
    return Reference(
        margin=float(margins[claimed]),
        exact=winner == claimed,
        admissible=max(1, int((margins <= delta).sum())),
        logit_rank=int((logits >= logits[claimed]).sum()),
    )
