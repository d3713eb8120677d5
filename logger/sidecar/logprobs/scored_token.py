"""A token with its log probability."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of a transcript, given all tokens before it.

    Attributes:
        token: its id.
        logprob: its log probability, nats; None for the first token of a transcript.
        top: the most likely tokens there with their log probabilities, the most likely first.
    """

    token: int
    logprob: float | None = None
    top: Sequence[tuple[int, float]] = ()
