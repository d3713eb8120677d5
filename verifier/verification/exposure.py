"""Leakage bounds of one run: how many bits audited and unaudited answers could still hide."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.scoring.codes import TILTS
from weightwarden.verifier.scoring.ledger import MAX_END_BITS, RecordCharges
from weightwarden.verifier.statistics.bandwidth import RecordBits
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.rates import Population, rate_limits

CONFIDENCE = 0.99
"""Confidence of the limits of a run, each."""


@dataclass(frozen=True, kw_only=True)
class AuditedPopulation:
    """What audited records were drawn from.

    Attributes:
        records, tokens: all of them, and their output tokens. answered: those with tokens. longest: most output tokens.
        order_r: places of the audited records in a random order; any order when they are all.
    """

    records: int
    answered: int
    tokens: int
    longest: int
    order_r: IntArray

    @classmethod
    def of(cls, tokens: Sequence[int], audited: int, draws: Sequence[int]) -> "AuditedPopulation":
        """From the output tokens of all records, and the audited ones' numbers in the draw (none: all are audited)."""
        return cls(
            records=len(tokens),
            answered=sum(count > 0 for count in tokens),
            tokens=sum(tokens),
            longest=max(tokens, default=0),
            order_r=cls.order(draws, audited),
        )

    @staticmethod
    def order(draws: Sequence[int], audited: int) -> IntArray:
        """A random order of the audited records, by their numbers in the draw; as they stand when there are none."""
        return np.argsort(np.array(draws, np.uint64)) if draws else np.arange(audited)

    @property
    def complete(self) -> bool:
        """Whether every record was audited."""
        return len(self.order_r) == self.records


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A bandwidth bound.

    Attributes:
        audited_bits: what the audited records could have carried, by what they are charged.
        limit_bits: what all records could have, with confidence `CONFIDENCE`; the same where all were audited.
    """

    audited_bits: float
    limit_bits: float


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The figures of a run. Rates are per output token, intervals two-sided at `CONFIDENCE`, records as units.

    Attributes:
        tokens, total_tokens: audited output tokens, and those of all records.
        counting, pooled: the two bounds, ends included.
        entropy_bits_per_token: honest conditional entropy under the policy's noise, bits: what no threshold takes from
            an attacker; None without a noise model.
    """

    tokens: int
    total_tokens: int
    counting: Bound
    pooled: Bound
    entropy_bits_per_token: float | None
    mismatch: Interval
    suspicious: Interval
    dangerous: Interval

    @classmethod
    def of(cls, charges: RecordCharges, audited: AuditedPopulation, policy: BasePolicy, vocabulary: int) -> "Exposure":
        """The figures of what a verification charged.

        1. Rates, with limits for all records.
        2. The counting bound; 3. the pooled bound, under the tilt that suits the records best. The choice of the tilt
           is paid for in bits, and in the confidence of the limit (a limit for every tilt, each at 1/K of the error).
        """
        order, tokens = audited.order_r, int(charges.tokens_r.sum())
        answered = Population(records=audited.answered, tokens=audited.tokens)

        def rate(events_r: IntArray) -> Interval:
            return rate_limits(
                events_r[order].astype(np.float64),
                charges.tokens_r[order].astype(np.float64),
                confidence=CONFIDENCE,
                longest=audited.longest,
                population=answered,
            )

        def limit(bits_r: FloatArray, confidence: float) -> float:
            return (
                RecordBits(
                    bits_r=(bits_r + charges.end_bits_r)[order],
                    tokens_r=charges.tokens_r[order].astype(np.float64),
                    most_per_token=float(np.log2(vocabulary)),
                    most_per_end=MAX_END_BITS,
                    population=Population(records=audited.records, tokens=audited.tokens),
                    longest=audited.longest,
                )
                .total_limit(confidence)
                .high
            )

        tilt = charges.best_tilt
        return cls(
            tokens=tokens,
            total_tokens=audited.tokens,
            mismatch=rate(charges.mismatches_r),
            suspicious=rate(charges.suspicious_r),
            dangerous=rate(charges.dangerous_r),
            counting=Bound(
                audited_bits=charges.counting_bits,
                limit_bits=limit(charges.counting_bits_r, CONFIDENCE),
            ),
            pooled=Bound(
                audited_bits=charges.pooled_bits,
                limit_bits=float(np.log2(len(TILTS)))
                + limit(charges.pooled_bits_rk[:, tilt], 1 - (1 - CONFIDENCE) / len(TILTS)),
            ),
            entropy_bits_per_token=None if policy.exact else float(charges.entropy_bits_r.sum()) / tokens,
        )
