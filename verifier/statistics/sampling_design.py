"""Sampling designs of an audit: the probability with which a record is drawn, by its length."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.errors import StatisticsError

AuditBy = Literal["records", "tokens"]
"""What a rate is a share of: records are drawn with one probability, or in proportion to their tokens."""
AUDIT_BY: tuple[AuditBy, ...] = get_args(AuditBy)
UNIT_TOKENS = 1024
"""Tokens of a record, its end included, that is drawn with the probability `rate` by tokens."""
END_TOKENS = 8
"""Tokens for which a record's end counts by tokens, so that refusals and empty answers are audited, too."""


@dataclass(frozen=True)
class SamplingDesign:
    """A Poisson sampling design: each record is drawn on its own, with a probability that only its length determines.

    By records the probability is the rate. By tokens it is min(1, rate * (n + 8) / 1024) for n output tokens: the rate
    is that of an answer of 1,016 tokens. The other constants are fixed, so that no other record can move it.

    Attributes:
        rate: in (0, 1].
        by: "records" or "tokens".
    """

    rate: float
    by: AuditBy = "records"

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1 or self.by not in AUDIT_BY:
            raise StatisticsError(f"no sampling design has the rate {self.rate} by {self.by}")

    @property
    def certain_tokens(self) -> float:
        """Output tokens from which a record is certainly drawn; inf where none is, 0 where every record is."""
        if self.by == "records":
            return 0.0 if self.rate == 1 else np.inf
        return UNIT_TOKENS / self.rate - END_TOKENS

    def probability(self, tokens: float) -> float:
        """Probability, in (0, 1], with which a record of so many output tokens is drawn."""
        if self.by == "records":
            return self.rate
        return min(1.0, self.rate * (tokens + END_TOKENS) / UNIT_TOKENS)

    def probabilities(self, tokens_r: ArrayLike) -> FloatArray:
        """`probability` of each record [records]."""
        tokens_r = np.asarray(tokens_r, np.float64)
        if self.by == "records":
            return np.full(tokens_r.shape, self.rate)
        drawn_r: FloatArray = np.minimum(1.0, self.rate * (tokens_r + END_TOKENS) / UNIT_TOKENS)
        return drawn_r

    def record_weights(self, tokens_r: ArrayLike) -> FloatArray:
        """Weight, at most 1, of each drawn record in a share of all records: p(0) / p(n).

        It makes up for the draw (Horvitz and Thompson 1952): by tokens long records are drawn more often than others,
        and count less. By records each counts 1.
        """
        drawn_r: FloatArray = self.probability(0) / self.probabilities(tokens_r)
        return drawn_r

    def token_weights(self, tokens_r: ArrayLike, longest: float) -> FloatArray:
        """Weight, at most `longest`, of each drawn record in a rate per token of all records.

        By records that are its tokens up to `longest`. By tokens they are divided by its probability, in a unit in
        which no weight exceeds `longest`.

        Args:
            tokens_r: its output tokens [records].
            longest: tokens of a record that counts most; longer ones count as much.
        """
        counted_r = np.minimum(np.asarray(tokens_r, np.float64), longest)
        if self.by == "records":
            return counted_r
        unit = min(self.rate * longest / UNIT_TOKENS, 1.0)  # n unit / p <= longest: where p = 1, and where it is less
        weight_r: FloatArray = np.minimum(counted_r * unit / self.probabilities(tokens_r), longest)  # up to rounding
        return weight_r
