"""Growth of a likelihood ratio against admissible-set coding, by the amount of honest traffic behind the bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.calibration.honest_noise import NoiseCounts
from weightwarden.verifier.scoring.codes import classes
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.noise_model import TokenNoise
from weightwarden.verifier.scoring.token_scores import TokenScores

MULTIPLES = (1, 2, 10, inf)
"""Amounts of honest traffic for which the growth is computed, as multiples of the calibration's."""


@dataclass(frozen=True, kw_only=True)
class TrafficGrowth:
    """Growth with the bounds that an amount of honest traffic gives.

    Attributes:
        multiple: the amount, as a multiple of the calibration's; inf where the honest odds are known.
        honest_tokens: the amount, tokens.
        nats_per_token: mean growth of ln of the likelihood ratio for an audited token of the attacker. Larger is better
            for the auditor.
    """

    multiple: float
    honest_tokens: float
    nats_per_token: float

    @property
    def tokens_to_alarm(self) -> float:
        """Audited tokens of the attacker until an alarm at `RUN_ALARM_LEVEL`, about; inf without growth."""
        return -log(RUN_ALARM_LEVEL) / self.nats_per_token if self.nats_per_token > 0 else inf


def traffic_growth(
    scores: Sequence[TokenScores], counts: NoiseCounts, noise: TokenNoise, margin: float
) -> list[TrafficGrowth]:
    """Growth with the bounds of `MULTIPLES` of the traffic.

    A bound comes nearer to the counted share as one over the square root of the amount, and is the share in the limit.

    Args:
        scores: positions of honest traffic.
        counts: counts of the records to which these positions belong.
        noise: the bounds from these counts.
        margin: delta, logits, within which tokens are admissible.
    """
    tokens, share_c = float(counts.tokens_r.sum()), counts.shares_c
    inside = int(np.searchsorted(noise.edges_b, margin, side="right"))  # the boundary, and the bins within the margin
    offered_nc = np.concatenate([classes(noise.edges_b, one)[1][:, :inside] for one in scores]).astype(np.int64)
    found = []
    for multiple in MULTIPLES:
        upper_c = share_c + (noise.upper_c - share_c) / sqrt(multiple)
        nats = growth_per_token(offered_nc, upper_c[:inside])
        found.append(TrafficGrowth(multiple=multiple, honest_tokens=multiple * tokens, nats_per_token=nats))
    return found


def growth_per_token(offered_nc: IntArray, upper_c: FloatArray) -> float:
    """Mean growth of the best test of honest choices against choices uniform over the admissible set, nats a token.

    Honest servers take an alternative of class c with probability u_c at most, and the replay's choice otherwise. Of
    all such servers the one nearest to the attacker (least relative entropy) takes an alternative with p_c = min(u_c,
    t), where the choice has the rest, t. With a_c = t / p_c the factor of a position is a_claimed / (1 + sum over its
    alternatives of u_c (a_c - 1)). Its mean is at most 1 for every honest server, and that of its logarithm, for the
    attacker, is the largest that any such factor has (Grünwald, de Heide, Koolen, arXiv 1906.07801).

    Args:
        offered_nc: admissible alternatives of each position, by class.
        upper_c: upper bounds of the probability of each, above 0.
    """
    rows, times = np.unique(offered_nc, axis=0, return_counts=True)
    order = np.argsort(upper_c)
    offered, upper = rows[:, order], upper_c[order]
    # t is the largest of the values that it would have if the classes before j were at their bounds, and the rest at t.
    before = np.cumsum(np.column_stack([np.zeros(len(rows)), offered * upper]), axis=1)
    after = offered.sum(axis=1, keepdims=True) - np.cumsum(
        np.column_stack([np.zeros(len(rows), np.int64), offered]), axis=1
    )
    choice = ((1 - before) / (1 + after)).max(axis=1)
    chances = np.minimum(upper, choice[:, None])
    size = 1 + offered.sum(axis=1)
    growth = -np.log(size) - (np.log(choice) + (offered * np.log(chances)).sum(axis=1)) / size
    return float(growth @ times / times.sum())
