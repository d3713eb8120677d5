"""The protocol of accumulators: sums over the scored positions of many records."""

from typing import Protocol

from weightwarden.sampler.types import IntArray
from weightwarden.verifier.scoring.token_scores import TokenScores


class Accumulator(Protocol):
    """Accumulator of the scored positions of many records, in any order. Each accumulator defines its result."""

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions.

        Args:
            record_n: place of each position's record, int64 [positions].
            scores: scores of the claimed tokens.
            times_n: multiplicity of each position, int64 [positions]; 1 if omitted (`compress_plain_positions`).
        """
