"""The population of an audit: the records that were drawn, the lengths of the others, and the sampling design."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.ledger import MAX_END_BITS
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.statistics.total_limit import PoissonSample
from weightwarden.verifier.verification.length_table import LengthTable


@dataclass(frozen=True, kw_only=True)
class AuditedPopulation:
    """The population from which audited records were drawn.

    Attributes:
        tokens_r: output tokens of each audited record.
        order_r: places of the audited records in a random order; any order when all records were audited.
        unaudited: the other records by length.
        design: sampling design of the draw; None where all records are audited.
    """

    tokens_r: IntArray
    order_r: IntArray
    unaudited: LengthTable
    design: SamplingDesign | None

    @classmethod
    def of(
        cls,
        tokens: Sequence[int] | IntArray,
        draws: Sequence[int],
        unaudited: LengthTable,
        design: SamplingDesign | None,
    ) -> "AuditedPopulation":
        """The population.

        Args:
            tokens: output tokens of each audited record.
            draws: places of the audited records in the draw; empty where all records are audited.
            unaudited: the other records by length.
            design: sampling design of the draw; None where all records are audited.
        """
        return cls(
            tokens_r=np.array(tokens, np.int64),
            order_r=np.argsort(np.array(draws, np.uint64)) if draws else np.arange(len(tokens)),
            unaudited=unaudited,
            design=design,
        )

    @classmethod
    def whole(cls, tokens: Sequence[int] | IntArray) -> "AuditedPopulation":
        """The population of records that are all audited."""
        return cls.of(tokens, [], LengthTable.of({}), None)

    @property
    def complete(self) -> bool:
        """True if every record was audited."""
        return not len(self.unaudited.tokens_u)

    @property
    def records(self) -> int:
        """Number of all records."""
        return len(self.tokens_r) + int(self.unaudited.records_u.sum())

    @property
    def answered(self) -> int:
        """Number of records with output tokens."""
        unaudited = self.unaudited
        return int((self.tokens_r > 0).sum() + unaudited.records_u[unaudited.tokens_u > 0].sum())

    @property
    def tokens(self) -> int:
        """Output tokens of all records."""
        return int(self.tokens_r.sum()) + self.unaudited.tokens

    @property
    def longest(self) -> int:
        """Output tokens of the longest record."""
        return max(int(self.tokens_r.max(initial=0)), int(self.unaudited.tokens_u.max(initial=0)))

    @property
    def longest_weighted(self) -> float:
        """Largest tokens / probability of any record that is not certainly drawn; 0 without one."""
        tokens_u = np.union1d(self.tokens_r, self.unaudited.tokens_u)
        probability_u = self.probabilities(tokens_u)
        return float((tokens_u / probability_u)[probability_u < 1].max(initial=0.0))

    def probabilities(self, tokens_r: IntArray) -> FloatArray:
        """Probability with which records of these lengths were drawn [records]."""
        return np.ones(len(tokens_r)) if self.design is None else self.design.probabilities(tokens_r)

    def sample(self, bits_r: FloatArray, log2_vocabulary: float) -> PoissonSample:
        """The sample, with the bits of each audited record.

        Args:
            bits_r: bits of each audited record, its end included.
            log2_vocabulary: bits of a token that is chosen freely.
        """
        unaudited = self.unaudited
        return PoissonSample(
            bits_r=bits_r,
            probability_r=self.probabilities(self.tokens_r),
            unaudited_bits_u=most_bits(unaudited.tokens_u, log2_vocabulary),
            unaudited_probability_u=self.probabilities(unaudited.tokens_u),
            unaudited_count_u=unaudited.records_u.astype(np.float64),
            tokens=self.tokens,
            audited_tokens=int(self.tokens_r.sum()),
        )


def most_bits(tokens_r: IntArray, log2_vocabulary: float) -> FloatArray:
    """Largest number of bits of records of these lengths, their ends included [records]."""
    bits: FloatArray = log2_vocabulary * tokens_r.astype(np.float64) + MAX_END_BITS
    return bits
