"""Warnings about traffic that is too small, or too uniform."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.sampler.types import BoolArray, IntArray
from weightwarden.verifier.policy.calibrated import Evaluation, Thresholds
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.noise_model import TokenNoise
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.statistics.intervals import clustered_rate

ENOUGH = 3.7
"""-ln 0.025: the expected number of events at which the chance of none is 2.5%."""
MIN_ENTROPY = 0.005
"""Limit in bits a token; greedy traffic, which has least, has 0.04."""


@dataclass(frozen=True, kw_only=True)
class DangerousSeen:
    """Rate of dangerous tokens in honest traffic: the number counted, and its upper limit.

    Attributes:
        count: dangerous tokens.
        tokens: honest tokens examined.
        upper: upper 97.5% confidence limit of the rate, records as clusters.
    """

    count: int
    tokens: int
    upper: float

    @classmethod
    def of(
        cls, half: Sequence[tuple[IntArray, TokenScores]], thresholds: Thresholds, half_r: BoolArray
    ) -> "DangerousSeen":
        """The rate on the records of a half."""
        dangerous_r, tokens_r = np.zeros(len(half_r)), np.zeros(len(half_r))
        for record_n, scores in half:
            far = (scores.margin_n > thresholds.margin_logits) & (scores.logit_rank_n > thresholds.rank_limit)
            np.add.at(dangerous_r, record_n, far)
            np.add.at(tokens_r, record_n, 1)
        upper = clustered_rate(dangerous_r[half_r], tokens_r[half_r]).high
        return cls(count=int(dangerous_r.sum()), tokens=int(tokens_r.sum()), upper=upper)

    def __str__(self) -> str:
        return f"{self.count} of {self.tokens} tokens seen, at most {self.upper:.2g}"

    def warnings(self, wanted: float) -> list[str]:
        """Warnings if these tokens do not show that the rate is as small as wanted."""
        if self.upper <= wanted or not wanted:
            return []
        return [
            f"dangerous: {self}; that it is at most {wanted:g}, {ENOUGH / wanted:.0f} tokens a half would show of which"
            " none is"
        ]


def traffic_warnings(
    records: Sequence[Record], half_r: BoolArray, noise: TokenNoise, evaluation: Evaluation
) -> list[str]:
    """Warnings from the half that chose the thresholds, and from all tokens together."""
    warnings = []
    entropy = evaluation.entropy_bits_per_token.value
    if entropy < MIN_ENTROPY:
        warnings.append(
            f"hardly any position had more than one plausible token (honest entropy: {entropy:.2g} bits a token): this"
            " traffic says little about noise; calibrate on longer, sampled answers to different prompts"
        )
    half = [record for record, first_half in zip(records, half_r, strict=True) if first_half]
    sampling = [record.sampling for record in half if not record.sampling.is_greedy]
    if not any(s.top_p < 1 for s in sampling):
        warnings.append("no record has top_p below 1: the mass slack is a default, not calibrated")
    if not any(s.top_k > 0 or s.min_p > 0 for s in sampling):
        warnings.append("no record has top_k or min_p: the logit slack is a default, not calibrated")
    if noise.outlier_upper > FLAG_LEVEL:
        warnings.append(
            f"too few tokens to bound the outlier rate by {FLAG_LEVEL:g} (bound: {noise.outlier_upper:.2g});"
            " records are flagged less readily: calibrate on at least 4,000 tokens"
        )
    return warnings
