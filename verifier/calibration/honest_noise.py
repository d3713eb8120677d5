"""Counts on honest records: the token noise, and the rates to which codes are fitted."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from scipy.optimize import isotonic_regression

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.policy.calibrated import CodeRates, Thresholds, code_edges
from weightwarden.verifier.replay.replay import PlacedTable
from weightwarden.verifier.scoring.codes import classes, taken_classes
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, TokenNoise, noise_counts
from weightwarden.verifier.scoring.token_scores import TokenScores, inverse_transform_likelihood_score


@dataclass(frozen=True, kw_only=True)
class NoiseCounts:
    """Counts of each record from which the noise is made, as `TokenNoise.from_counts` takes them."""

    exposures_rb: FloatArray
    chosen_rb: FloatArray
    beyond_rb: FloatArray
    boundary_rc: FloatArray
    tokens_r: FloatArray

    @classmethod
    def of(cls, scored: Sequence[tuple[IntArray, TokenScores]], which_r: BoolArray) -> Self:
        """Counts of some records.

        Args:
            scored: positions, each with its record.
            which_r: records to count.
        """
        records, bins = len(which_r), len(MARGIN_EDGES) - 1
        exposures, chosen = np.zeros((records, bins)), np.zeros((records, bins))
        beyond, boundary, tokens = np.zeros((records, bins + 1)), np.zeros((records, 2)), np.zeros(records)
        for record_n, scores in scored:
            for total, part in zip((exposures, chosen, beyond, boundary), noise_counts(scores), strict=True):
                np.add.at(total, record_n, part)
            np.add.at(tokens, record_n, 1)
        return cls(
            exposures_rb=exposures[which_r],
            chosen_rb=chosen[which_r],
            beyond_rb=beyond[which_r],
            boundary_rc=boundary[which_r],
            tokens_r=tokens[which_r],
        )

    def noise(self, outlier_margin: float | None = None, *, bounded: bool = True) -> TokenNoise:
        """Noise of the tokens, by margin. Outliers begin at the given margin, or else at one chosen here.

        Args:
            bounded: False: nothing bounds the share of boundary alternatives that an honest server takes.
        """
        noise = TokenNoise.from_counts(
            *(getattr(self, field.name) for field in fields(self)), outlier_margin=outlier_margin
        )
        return noise if bounded else replace(noise, boundary_upper=None)

    @property
    def shares_c(self) -> FloatArray:
        """Shares of alternatives that were taken, by class (`verifier.scoring.codes.classes`)."""
        offered = np.append(self.boundary_rc[:, 0].sum(), self.exposures_rb.sum(axis=0))
        return class_shares(offered, np.append(self.boundary_rc[:, 1].sum(), self.chosen_rb.sum(axis=0)))


def class_shares(offered_c: FloatArray, taken_c: FloatArray) -> FloatArray:
    """Shares of alternatives that were taken, by class, at most 1/2 and not rising with the margin.

    One half of an event is added, so that no share is 0.
    """
    share = np.minimum((taken_c + 0.5) / (offered_c + 1), 0.5)
    return np.append(share[0], isotonic_regression(share[1:], weights=offered_c[1:] + 1, increasing=False).x)


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

    def share_of(which: BoolArray) -> float:
        return (float(which.sum()) + 0.5) / (len(margin) + 1)

    unsafe, outlier = margin > thresholds.margin_logits, margin > code_edges(scheme)[-1]

    return CodeRates(
        alternative=class_shares(offered, taken).tolist(),
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
