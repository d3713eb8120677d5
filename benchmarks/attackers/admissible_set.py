"""Admissible-set coding: every token stays inside the verifier's tolerance."""

import numpy as np

from benchmarks.attackers.coded_tokens import CodedTokens
from benchmarks.attackers.serving import Step
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.calibrated import Policy

GUARD = 0.99
"""Share of the threshold that the attacker uses, since float32 rounds differently in other batches."""


def admissible(step: Step, margin: float) -> FloatArray:
    """1 for candidates [b, k] within the margin of the replay's choice, 0 for others."""
    inside: FloatArray = (step.margin_bk <= margin).astype(np.float64)
    return inside


class AdmissibleSet(CodedTokens):
    """Coding with equal weights for all admissible tokens, which the counting bound counts."""

    on_replica = True

    @property
    def name(self) -> str:
        return "admissible-set coding"

    def offer(self, step: Step, policy: Policy) -> FloatArray:
        return admissible(step, GUARD * policy.thresholds.margin_logits)
