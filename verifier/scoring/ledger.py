"""The bandwidth ledger of a run: charges of each record under every code, and counts of verdicts."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.columns import Columns
from weightwarden.verifier.scoring.codes import CountingCode, PooledCode
from weightwarden.verifier.scoring.record_sums import scatter_add
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.scoring.token_verdicts import Verdict, judge_tokens

UNASKED_END_SHARE = 0.01
"""Expected share of records with an end that violates the request. The code of ends is fitted to it.

Any value gives a bound.
"""
PLAIN_SHARE = 0.01
"""Expected share of records with tokens so unlikely that plain coding, log2 V bits each, is shorter."""
CODED_BITS = -float(np.log2(1 - PLAIN_SHARE))
"""Charge of a record for the information that its tokens are not coded plainly, bits."""
MAX_END_BITS = 84.0
"""Upper bound of the charge for an end, including the information that the record's tokens are coded plainly."""


@dataclass(frozen=True, kw_only=True)
class RecordCharges(Columns):
    """Charges and counts, one entry a record, in the order of the records verified.

    Attributes:
        tokens_r: output tokens, forced ones included. Forced tokens as the sidecar's rule demands them are charged 0.
        mismatches_r: tokens that are not the replay's choice.
        suspicious_r: suspicious tokens.
        dangerous_r: dangerous tokens.
        counting_bits_r: length of the record's tokens under the counting code, bits, without the end. Never much more
            than log2 V a token: the length includes the choice of the shorter of code and plain tokens.
        pooled_bits_r: the same under the pooled code.
        entropy_bits_r: honest entropy of the record's positions, bits; nan without a noise model.
        end_bits_r: charge for the record's end, whether it ends early, late, or as requested, bits.
    """

    tokens_r: IntArray
    mismatches_r: IntArray
    suspicious_r: IntArray
    dangerous_r: IntArray
    counting_bits_r: FloatArray
    pooled_bits_r: FloatArray
    entropy_bits_r: FloatArray
    end_bits_r: FloatArray

    @classmethod
    def unbounded(cls, tokens: int, vocabulary: int) -> "RecordCharges":
        """The charges of one unverifiable record.

        Each token may be any token, and none counts as an honest server's token. The end has the largest charge of an
        end.
        """
        plain = tokens * float(np.log2(vocabulary)) - float(np.log2(PLAIN_SHARE))
        return cls(
            tokens_r=np.array([tokens]),
            mismatches_r=np.array([tokens]),
            suspicious_r=np.array([0]),
            dangerous_r=np.array([tokens]),
            counting_bits_r=np.array([plain]),
            pooled_bits_r=np.array([plain]),
            entropy_bits_r=np.array([0.0]),
            end_bits_r=np.array([MAX_END_BITS + float(np.log2(PLAIN_SHARE))]),
        )

    @property
    def pooled_token_bits_r(self) -> FloatArray:
        """Pooled bits of each record without the information that its tokens are not coded plainly."""
        bits: FloatArray = np.maximum(self.pooled_bits_r - CODED_BITS, 0.0)
        return bits

    @property
    def counting_bits(self) -> float:
        """Counting bound of all records, ends included, bits."""
        return float(self.counting_bits_r.sum() + self.end_bits_r.sum())

    @property
    def pooled_bits(self) -> float:
        """Pooled bound of all records, ends included, bits."""
        return float(self.pooled_bits_r.sum() + self.end_bits_r.sum())


class OutcomeCounter:
    """Accumulator of the counts of many records: tokens, mismatches, verdicts."""

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
        self._pooled_bits = np.zeros(records)
        self._entropy_bits = np.zeros(records) if has_noise_model else np.full(records, np.nan)

    def add(self, record_n: IntArray, scores: TokenScores, times_n: IntArray | None = None) -> None:
        """Add positions (`Accumulator`)."""
        scatter_add(self._counting_bits, record_n, self._counting.lengths(scores), times_n)
        scatter_add(self._pooled_bits, record_n, self._pooled.lengths(scores), times_n)
        if self._has_noise_model:
            scatter_add(self._entropy_bits, record_n, self._pooled.entropies(scores), times_n)

    def charges(self, counts_rc: IntArray, end_code_r: FloatArray, forced_rc: IntArray | None = None) -> RecordCharges:
        """The charges of every record.

        Args:
            counts_rc: `OutcomeCounter.counts_rc` of the records.
            end_code_r: code length of each record's end, bits, if it violates the request; 0 otherwise.
            forced_rc: forced tokens of the records, and those of them that the sidecar's rule does not demand. Each of
                these is dangerous, and may be any token. None: no record has forced tokens.
        """
        plain = counts_rc[:, 0] * self._plain_bits - np.log2(PLAIN_SHARE)
        unasked = end_code_r > 0
        end = np.where(unasked, end_code_r - np.log2(UNASKED_END_SHARE), -np.log2(1 - UNASKED_END_SHARE))
        forced_r, undemanded_r = np.zeros((2, len(plain)), np.int64) if forced_rc is None else forced_rc.T
        return RecordCharges(
            tokens_r=counts_rc[:, 0] + forced_r,
            mismatches_r=counts_rc[:, 1] + undemanded_r,
            suspicious_r=counts_rc[:, 2],
            dangerous_r=counts_rc[:, 3] + undemanded_r,
            counting_bits_r=np.minimum(self._counting_bits + CODED_BITS, plain) + undemanded_r * self._plain_bits,
            pooled_bits_r=np.minimum(self._pooled_bits + CODED_BITS, plain) + undemanded_r * self._plain_bits,
            entropy_bits_r=self._entropy_bits,
            end_bits_r=end,
        )
