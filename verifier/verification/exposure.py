"""Leakage bounds of one run: how many bits audited and unaudited answers could still hide."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.ledger import RecordCharges
from weightwarden.verifier.statistics.conclusiveness import Conclusiveness, tokens_needed
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.poisson_rates import poisson_rate_limits
from weightwarden.verifier.statistics.rates import Population, rate_limits
from weightwarden.verifier.statistics.total_limit import TotalLimit, UpperLimit, best_ratio
from weightwarden.verifier.verification.audited_population import AuditedPopulation, most_bits

CONFIDENCE = 0.99
"""Confidence of each limit of a run."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A bandwidth bound.

    Attributes:
        audited_bits: bits that the audited records could have carried, by their charges.
        limit: limit of the bits of all records, audited or not, with confidence `CONFIDENCE`: a rate, which grows with
            the traffic, and a stock, which counts once.
        conclusiveness: whether the limit is small enough to say something, and what it needs if not.
    """

    audited_bits: float
    limit: UpperLimit
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
        tokens, log2_vocabulary = int(charges.tokens_r.sum()), float(np.log2(vocabulary))

        def bound(bits_r: FloatArray, audited_bits: float) -> Bound:
            limit = bits_limit(audited, bits_r + charges.end_bits_r, log2_vocabulary)
            return Bound(
                audited_bits=audited_bits,
                limit=limit,
                conclusiveness=Conclusiveness(
                    limit=limit.bits_per_token,
                    most=log2_vocabulary,
                    tokens_needed=tokens_needed(limit, tokens, log2_vocabulary),
                ),
            )

        return cls(
            tokens=tokens,
            total_tokens=audited.tokens,
            mismatch=rate_limits_of(audited, charges.mismatches_r),
            suspicious=rate_limits_of(audited, charges.suspicious_r),
            dangerous=rate_limits_of(audited, charges.dangerous_r),
            counting=bound(charges.counting_bits_r, charges.counting_bits),
            pooled=bound(charges.pooled_bits_r, charges.pooled_bits),
            leading_code=policy.leading_code,
            entropy_bits_per_token=None if policy.exact else float(charges.entropy_bits_r.sum()) / tokens,
            complete=audited.complete,
        )


def bits_limit(audited: AuditedPopulation, bits_r: FloatArray, log2_vocabulary: float) -> UpperLimit:
    """Upper limit of the bits of all records, with confidence `CONFIDENCE` over the draw of the audited ones.

    Its price is fixed by the lengths of all records and the sampling design, and so before the draw.

    Args:
        audited: the population.
        bits_r: bits of each audited record, its end included.
        log2_vocabulary: bits of a token that is chosen freely.
    """
    sample = audited.sample(bits_r, log2_vocabulary)
    if audited.complete:
        bits = float(bits_r.sum())
        return UpperLimit(rate_bits=bits, stock_bits=0.0, tokens=audited.tokens, most_bits=bits)
    tokens_u = np.concatenate([audited.tokens_r, audited.unaudited.tokens_u])
    count_u = np.concatenate([np.ones(len(audited.tokens_r)), audited.unaudited.records_u])
    ratio = best_ratio(most_bits(tokens_u, log2_vocabulary), audited.probabilities(tokens_u), count_u, CONFIDENCE)
    total = TotalLimit.at_prices(np.array([ratio]))
    total.add(sample)
    return total.limit(CONFIDENCE, sample.log_missed)


def rate_limits_of(audited: AuditedPopulation, events_r: IntArray) -> Interval:
    """Limits of the share of all tokens with an event, with confidence `CONFIDENCE`.

    Args:
        audited: the population.
        events_r: tokens with an event of each audited record.
    """
    events, tokens = events_r.astype(np.float64), audited.tokens_r.astype(np.float64)
    if audited.design is not None and audited.design.by == "tokens" and not audited.complete:
        probability_r = audited.probabilities(audited.tokens_r)
        return poisson_rate_limits(
            events,
            tokens,
            probability_r,
            tokens=audited.tokens,
            longest=audited.longest_weighted,
            confidence=CONFIDENCE,
            log_missed=audited.sample(np.zeros(len(events)), 1.0).log_missed,
        )
    return rate_limits(
        events[audited.order_r],
        tokens[audited.order_r],
        confidence=CONFIDENCE,
        longest=audited.longest,
        population=Population(records=audited.answered, tokens=audited.tokens),
    )
