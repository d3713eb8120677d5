"""The bandwidth ledger of a run: what each record is charged, under every code, and what happened in it."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.columns import Columns
from weightwarden.verifier.scoring.codes import HONEST_TILT, TILTS, CountingCode, PooledCode
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.scoring.token_verdicts import Verdict, judge_tokens
from weightwarden.verifier.statistics.bandwidth import best_of

UNASKED_END_SHARE = 0.01
"""Expected share of records that do not end as asked: what the code of ends is made for, any value bounds."""
PLAIN_SHARE = 0.01
"""Expected share of records whose tokens are so unlikely that they are shorter written plainly, log2 V bits each."""
CODED_BITS = -float(np.log2(1 - PLAIN_SHARE))
"""What a record is charged for its tokens not being written plainly, bits."""
MAX_END_BITS = 84.0
"""More than the end of a record is charged, with what it costs to say that its tokens are written plainly."""


@dataclass(frozen=True, kw_only=True)
class RecordCharges(Columns):
    """One entry a record, in the order of the records verified.

    Attributes:
        tokens_r: output tokens.
        mismatches_r: tokens that are not the replay's choice.
        suspicious_r: suspicious tokens.
        dangerous_r: dangerous tokens.
        counting_bits_r: length of the record's tokens under the counting code, bits; without the end. Never much more
            than log2 V a token: which of the two is shorter, the code or writing the tokens plainly, is part of the
            length.
        pooled_bits_rk: the same under the pooled code at each of `TILTS`.
        entropy_bits_r: honest entropy of its positions, bits; nan without a noise model.
        end_bits_r: length of the record's end: what is charged for ending early or late, or for not.
    """

    tokens_r: IntArray
    mismatches_r: IntArray
    suspicious_r: IntArray
    dangerous_r: IntArray
    counting_bits_r: FloatArray
    pooled_bits_rk: FloatArray
    entropy_bits_r: FloatArray
    end_bits_r: FloatArray

    @classmethod
    def unbounded(cls, tokens: int, vocabulary: int) -> "RecordCharges":
        """Of one record that could not be replayed: every token may be any, and counts as none that an honest server
        says; its end is charged the most that one can be.
        """
        plain = tokens * float(np.log2(vocabulary)) - float(np.log2(PLAIN_SHARE))
        return cls(
            tokens_r=np.array([tokens]),
            mismatches_r=np.array([tokens]),
            suspicious_r=np.array([0]),
            dangerous_r=np.array([tokens]),
            counting_bits_r=np.array([plain]),
            pooled_bits_rk=np.full((1, len(TILTS)), plain),
            entropy_bits_r=np.array([0.0]),
            end_bits_r=np.array([MAX_END_BITS + float(np.log2(PLAIN_SHARE))]),
        )

    @property
    def honest_tilt_bits_r(self) -> FloatArray:
        """Bits of each record's tokens under the pooled code with lambda 1, or written plainly where shorter."""
        bits: FloatArray = np.maximum(self.pooled_bits_rk[:, HONEST_TILT] - CODED_BITS, 0.0)
        return bits

    @property
    def best_tilt(self) -> int:
        """Index of the tilt under which all records together are shortest."""
        return int(np.argmin(self.pooled_bits_rk.sum(axis=0)))

    @property
    def counting_bits(self) -> float:
        """Counting bound of all records, ends included, bits."""
        return float(self.counting_bits_r.sum() + self.end_bits_r.sum())

    @property
    def pooled_bits(self) -> float:
        """Pooled bound of all records, ends and the choice of the tilt included, bits."""
        return best_of(self.pooled_bits_rk.sum(axis=0)) + float(self.end_bits_r.sum())


class OutcomeCounter:
    """Accumulator of what happened at the positions of many records: tokens, mismatches, verdicts."""

    def __init__(self, records: int, *, margin: float, rank_limit: int, vocabulary: int) -> None:
        self._margin, self._rank_limit, self._vocabulary = margin, rank_limit, vocabulary
        self.counts_rc = np.zeros((records, 4), np.int64)
        """Tokens, mismatches, suspicious and dangerous tokens of each record."""

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions (`Accumulator`)."""
        verdict_n = judge_tokens(scores, self._margin, self._rank_limit, self._vocabulary).verdict_n
        verdicts = [verdict_n == verdict for verdict in (Verdict.SUSPICIOUS, Verdict.DANGEROUS)]
        happened_nc = np.stack([np.ones(len(scores), np.bool_), ~scores.exact_n, *verdicts], axis=1)
        scatter_add(self.counts_rc, record_n, happened_nc, times_n)


class Ledger:
    """Accumulator of the lengths of many records under every code."""

    def __init__(self, records: int, counting: CountingCode, pooled: PooledCode, *, has_noise_model: bool) -> None:
        self._counting, self._pooled, self._has_noise_model = counting, pooled, has_noise_model
        self._plain_bits = float(np.log2(counting.escape.vocabulary))
        self._counting_bits = np.zeros(records)
        self._pooled_bits = np.zeros((records, len(TILTS)))
        self._entropy_bits = np.zeros(records) if has_noise_model else np.full(records, np.nan)

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions (`Accumulator`)."""
        scatter_add(self._counting_bits, record_n, self._counting.lengths(scores), times_n)
        scatter_add(self._pooled_bits, record_n, self._pooled.lengths(scores), times_n)
        if self._has_noise_model:
            scatter_add(self._entropy_bits, record_n, self._pooled.entropies(scores), times_n)

    def charges(self, counts_rc: IntArray, end_code_r: FloatArray) -> RecordCharges:
        """What every record is charged.

        Args:
            counts_rc: `OutcomeCounter.counts_rc` of the records.
            end_code_r: bits that say how a record ended that did not end as asked; 0 where it did.
        """
        plain = counts_rc[:, 0] * self._plain_bits - np.log2(PLAIN_SHARE)
        unasked = end_code_r > 0
        end = np.where(unasked, end_code_r - np.log2(UNASKED_END_SHARE), -np.log2(1 - UNASKED_END_SHARE))
        return RecordCharges(
            tokens_r=counts_rc[:, 0],
            mismatches_r=counts_rc[:, 1],
            suspicious_r=counts_rc[:, 2],
            dangerous_r=counts_rc[:, 3],
            counting_bits_r=np.minimum(self._counting_bits + CODED_BITS, plain),
            pooled_bits_rk=np.minimum(self._pooled_bits + CODED_BITS, plain[:, None]),
            entropy_bits_r=self._entropy_bits,
            end_bits_r=end,
        )
