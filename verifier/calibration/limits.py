"""Limits of honest traffic under the policy that is made from it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CalibrationLimits:
    """Limits of honest traffic under the policy, on the half that chooses it.

    Attributes:
        max_dangerous_rate: largest share of honest tokens judged dangerous, or beyond all token noise.
        max_unsafe_rate: largest share of honest tokens beyond the threshold (suspicious or dangerous).
        split_seed: seed of the split into halves.
    """

    max_dangerous_rate: float = 1e-4
    max_unsafe_rate: float = 1e-3
    split_seed: int = 0
