"""Counts on honest records: the token noise, and the rates to which codes are fitted."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.policy.calibrated import CodeRates, Thresholds, code_edges
from weightwarden.verifier.replay.replay import PlacedTable
from weightwarden.verifier.scoring.codes import classes, taken_classes
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, TokenNoise, noise_counts
from weightwarden.verifier.scoring.token_scores import TokenScores, inverse_transform_likelihood_score


def token_noise(
    scored: Sequence[tuple[IntArray, TokenScores]],
    half_r: BoolArray,
    outlier_margin: float | None = None,
) -> TokenNoise:
    """Noise of the tokens of a half, by margin. Outliers begin at the given margin, or else at one chosen here."""
    records, bins = len(half_r), len(MARGIN_EDGES) - 1
    exposures, chosen = np.zeros((records, bins)), np.zeros((records, bins))
    beyond, boundary, tokens = np.zeros((records, bins + 1)), np.zeros((records, 2)), np.zeros(records)
    for record_n, scores in scored:
        for total, part in zip((exposures, chosen, beyond, boundary), noise_counts(scores), strict=True):
            np.add.at(total, record_n, part)
        np.add.at(tokens, record_n, 1)
    return TokenNoise.from_counts(
        *(counts[half_r] for counts in (exposures, chosen, beyond, boundary, tokens)), outlier_margin=outlier_margin
    )


def code_rates(half: Sequence[TokenScores], thresholds: Thresholds, scheme: str) -> CodeRates:
    """Rates to which the codes are fitted. One half of an event is added, so that no share is 0."""
    edges = np.array(MARGIN_EDGES)
    offered, taken = np.zeros(len(edges)), np.zeros(len(edges))
    for scores in half:
        class_n, offered_nc = classes(edges, scores)
        offered += offered_nc.sum(axis=0)
        taken += taken_classes(class_n, len(edges) - 1).sum(axis=0)
    margin = np.concatenate([scores.margin_n for scores in half])
    near = np.concatenate([scores.logit_rank_n for scores in half]) <= thresholds.rank_limit
    share = np.minimum((taken + 0.5) / (offered + 1), 0.5)

    def share_of(which: BoolArray) -> float:
        return (float(which.sum()) + 0.5) / (len(margin) + 1)

    unsafe, outlier = margin > thresholds.margin_logits, margin > code_edges(scheme)[-1]

    return CodeRates(
        alternative=[share[0], *isotonic_regression(share[1:], weights=offered[1:] + 1, increasing=False).x],
        suspicious=share_of(unsafe & near),
        dangerous=share_of(unsafe & ~near),
        outliers_near=share_of(outlier & near),
        outliers_far=share_of(outlier & ~near),
    )


def cdf_noise_scale(placed: Sequence[PlacedTable], half_r: BoolArray) -> float:
    """Standard deviation of the noise on the uniform number, probability: maximum likelihood of IPT-LS on a grid."""
    low = np.concatenate([p.table.cdf_low_n[half_r[p.record_n]] for p in placed])
    high = np.concatenate([p.table.cdf_high_n[half_r[p.record_n]] for p in placed])
    known = np.isfinite(low) & np.isfinite(high)
    scales: FloatArray = np.geomspace(1e-6, 0.3, 60)
    likelihood = [
        float(np.maximum(inverse_transform_likelihood_score(low[known], high[known], s), -50.0).sum()) for s in scales
    ]
    return float(scales[int(np.argmax(likelihood))])
