"""The protocol of accumulators: sums over the scored positions of many records."""

from typing import Protocol

from weightwarden.sampler.types import IntArray
from weightwarden.verifier.scoring.token_scores import TokenScores


class Accumulator(Protocol):
    """Takes the scored positions of many records, in any order; what it then gives is its own."""

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions.

        Args:
            record_n: place of each position's record, int64 [positions].
            scores: scores of the claimed tokens.
            times_n: how often each position counts, int64 [positions]; once without (`compress_plain_positions`).
        """
