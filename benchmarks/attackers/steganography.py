"""Text steganography: perfectly natural text, drawn by the payload instead of the seed (Meteor, CCS 2021)."""

from benchmarks.attackers.coded_tokens import CodedTokens
from benchmarks.attackers.serving import Step
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.calibrated import Policy


class Steganography(CodedTokens):
    """Coding with the model's own probabilities: a reader of the text cannot detect it; a check of the seed can."""

    @property
    def name(self) -> str:
        return "text steganography"

    def offer(self, step: Step, policy: Policy) -> FloatArray:
        return step.probability_bk
