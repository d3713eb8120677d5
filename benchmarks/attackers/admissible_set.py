"""Admissible-set coding: every token stays inside the verifier's tolerance."""

import numpy as np

from benchmarks.attackers.coded_tokens import CodedTokens
from benchmarks.attackers.serving import Step
from sampler.types import FloatArray
from verifier.policy import Policy

GUARD = 0.6
"""Share of the threshold that the attacker uses: the verifier's logits are not exactly its own."""


def admissible(step: Step, margin: float) -> FloatArray:
    """1 for candidates [b, k] within the margin of the honest choice, 0 for others."""
    inside: FloatArray = (step.margin_bk <= margin).astype(np.float64)
    return inside


class AdmissibleSet(CodedTokens):
    """All admissible tokens alike: what the counting bound counts."""

    @property
    def name(self) -> str:
        return "admissible-set coding"

    def offer(self, step: Step, policy: Policy) -> FloatArray:
        return admissible(step, GUARD * policy.thresholds.margin_logits)
