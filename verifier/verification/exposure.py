"""Leakage bounds of one run: how many bits audited and unaudited answers could still hide."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.ledger import MAX_END_BITS, RecordCharges
from weightwarden.verifier.statistics.bandwidth import RecordBits
from weightwarden.verifier.statistics.conclusiveness import Conclusiveness, records_needed
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.rates import Population, rate_limits

CONFIDENCE = 0.99
"""Confidence of each limit of a run."""


@dataclass(frozen=True, kw_only=True)
class AuditedPopulation:
    """The population from which audited records were drawn.

    Attributes:
        records: number of all records.
        answered: number of records with output tokens.
        tokens: output tokens of all records.
        longest: output tokens of the longest record.
        order_r: places of the audited records in a random order; any order when all records were audited.
    """

    records: int
    answered: int
    tokens: int
    longest: int
    order_r: IntArray

    @classmethod
    def of(cls, tokens: Sequence[int], audited: int, draws: Sequence[int]) -> "AuditedPopulation":
        """The population of all records.

        Args:
            tokens: output tokens of each record.
            audited: number of audited records.
            draws: numbers of the audited records in the draw; empty when all records were audited.
        """
        return cls(
            records=len(tokens),
            answered=sum(count > 0 for count in tokens),
            tokens=sum(tokens),
            longest=max(tokens, default=0),
            order_r=cls.order(draws, audited),
        )

    @staticmethod
    def order(draws: Sequence[int], audited: int) -> IntArray:
        """A random order of the audited records, by their numbers in the draw; without numbers, their own order."""
        return np.argsort(np.array(draws, np.uint64)) if draws else np.arange(audited)

    @property
    def complete(self) -> bool:
        """True if every record was audited."""
        return len(self.order_r) == self.records


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A bandwidth bound.

    Attributes:
        audited_bits: bits that the audited records could have carried, by their charges.
        limit_bits: bits that all records could have carried, with confidence `CONFIDENCE`; the same where all were
            audited.
        conclusiveness: whether the limit is small enough to say something, and what it needs if not.
    """

    audited_bits: float
    limit_bits: float
    conclusiveness: Conclusiveness


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The figures of a run. Rates are per output token; intervals are two-sided at `CONFIDENCE`, with records as units.

    Attributes:
        tokens: output tokens of the audited records.
        total_tokens: output tokens of all records.
        counting: the counting bound, ends of answers included.
        pooled: the pooled bound, ends of answers included.
        leading_code: the code whose bound counts (`BasePolicy.leading_code`).
        entropy_bits_per_token: honest conditional entropy under the policy's noise, bits; an attacker keeps it under
            any threshold. None without a noise model.
        mismatch: rate of mismatches.
        suspicious: rate of suspicious tokens.
        dangerous: rate of dangerous tokens.
        complete: whether every record was audited, so that the limits are the audited records' own values.
    """

    tokens: int
    total_tokens: int
    counting: Bound
    pooled: Bound
    leading_code: CodeName
    entropy_bits_per_token: float | None
    mismatch: Interval
    suspicious: Interval
    dangerous: Interval
    complete: bool

    @property
    def leading(self) -> Bound:
        """The bound that counts."""
        return self.pooled if self.leading_code == "pooled" else self.counting

    @property
    def conclusive(self) -> bool:
        """True if all records were audited, or the leading bound says something about all of them."""
        return self.complete or self.leading.conclusiveness.conclusive

    @classmethod
    def of(cls, charges: RecordCharges, audited: AuditedPopulation, policy: BasePolicy, vocabulary: int) -> "Exposure":
        """The figures from the charges of the audited records.

        1. Compute rates, with limits for all records.
        2. Compute the bounds under both codes.
        """
        order, tokens = audited.order_r, int(charges.tokens_r.sum())
        answered = Population(records=audited.answered, tokens=audited.tokens)
        log2_vocabulary = float(np.log2(vocabulary))

        def rate(events_r: IntArray) -> Interval:
            return rate_limits(
                events_r[order].astype(np.float64),
                charges.tokens_r[order].astype(np.float64),
                confidence=CONFIDENCE,
                longest=audited.longest,
                population=answered,
            )

        def bound(bits_r: FloatArray, audited_bits: float) -> Bound:
            charged = RecordBits(
                bits_r=(bits_r + charges.end_bits_r)[order],
                tokens_r=charges.tokens_r[order].astype(np.float64),
                most_per_token=log2_vocabulary,
                most_per_end=MAX_END_BITS,
                population=Population(records=audited.records, tokens=audited.tokens),
                longest=audited.longest,
            )
            limit_bits = charged.total_limit(CONFIDENCE).high
            needed = records_needed(min(audited_bits / tokens, log2_vocabulary), log2_vocabulary, CONFIDENCE)
            return Bound(
                audited_bits=audited_bits,
                limit_bits=limit_bits,
                conclusiveness=Conclusiveness(
                    limit=limit_bits / audited.tokens,
                    most=log2_vocabulary,
                    tokens_needed=max(min(needed * audited.longest, audited.tokens) - tokens, 0.0)
                    if isfinite(needed)
                    else inf,
                ),
            )

        return cls(
            tokens=tokens,
            total_tokens=audited.tokens,
            mismatch=rate(charges.mismatches_r),
            suspicious=rate(charges.suspicious_r),
            dangerous=rate(charges.dangerous_r),
            counting=bound(charges.counting_bits_r, charges.counting_bits),
            pooled=bound(charges.pooled_bits_r, charges.pooled_bits),
            leading_code=policy.leading_code,
            entropy_bits_per_token=None if policy.exact else float(charges.entropy_bits_r.sum()) / tokens,
            complete=audited.complete,
        )
