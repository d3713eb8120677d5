"""The verifier's view of an attacker: per message, per day, and the time until the alarm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.scoring.ledger import RecordCharges
from weightwarden.verifier.scoring.run_evidence import HonestRates, run_p_value
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.exposure import Exposure
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.length_table import LengthTable
from weightwarden.verifier.verification.series_monitor import SeriesMonitor
from weightwarden.verifier.verification.verifier import Verifier

RATES = (1e-2, 1e-4)
"""False-positive rates of the tests at which detection is reported."""
AUDITED = 10
"""Ratio of all answers to audited ones, in audits of a part."""
DAYS = 2000
"""Number of days drawn from the pool, which is `AUDITED` times as large."""
DRAWS = 100
"""Number of draws of the audited answers, each with a limit for all answers."""
SERIES = 15
"""Number of random orders in which the pool is audited until the alarm."""
FALSE_ALARM = 1e-4


@dataclass(frozen=True, kw_only=True)
class Detection:
    """The verifier's findings.

    Attributes:
        by_message: share of messages with a p-value of at most each of `RATES`.
        by_day: share of days with a p-value of at most each of `RATES`; a day is a tenth of the pool.
        tokens_to_alarm: median of audited tokens until the monitor's alarm, each answer once; None if no alarm comes
            within the pool.
        counting_bits: bits that the records could carry unseen under the counting code, ends included.
        pooled_bits: bits that the records could carry unseen under the pooled code, ends included.
        bound_bits: the lesser of the two, and one bit that names it.
        limit_bits: limits of all answers, each from one of `DRAWS` audits of a tenth of them, with confidence
            `verifier.verification.exposure.CONFIDENCE` each.
    """

    records: int
    tokens: int
    mismatch_rate: float
    dangerous_rate: float
    by_message: dict[str, float]
    by_day: dict[str, float]
    tokens_to_alarm: float | None
    counting_bits: float
    pooled_bits: float
    bound_bits: float
    limit_bits: list[float]


def detect(verifier: Verifier, records: Sequence[Record], rng: np.random.Generator) -> Detection:
    """Audit all records of an attacker, or of an honest server."""
    found = verifier.judge(records)
    p_value_r = np.array([record.p_value for record in found.records])
    charges = found.charges
    tokens = int(charges.tokens_r.sum())
    assert isinstance(verifier.policy, Policy)
    return Detection(
        records=len(records),
        tokens=tokens,
        mismatch_rate=float(charges.mismatches_r.sum() / tokens),
        dangerous_rate=float(charges.dangerous_r.sum() / tokens),
        by_message={f"{rate:g}": float((p_value_r <= rate).mean()) for rate in RATES},
        by_day=_by_day(found, verifier.policy.honest_rates, rng),
        tokens_to_alarm=_tokens_to_alarm(found, verifier, rng),
        counting_bits=charges.counting_bits,
        pooled_bits=charges.pooled_bits,
        bound_bits=min(charges.counting_bits, charges.pooled_bits) + 1,
        limit_bits=_limits(charges, verifier, rng),
    )


def _limits(charges: RecordCharges, verifier: Verifier, rng: np.random.Generator) -> list[float]:
    """Limits of the bits that all answers could carry, from audits of some."""
    design = SamplingDesign(1 / AUDITED)
    vocabulary = verifier.replayer.identity.vocabulary
    limits: list[float] = []
    while len(limits) < DRAWS:
        drawn_r = rng.random(len(charges)) < design.rate
        if not charges.tokens_r[drawn_r].any():
            continue  # an audit of nothing is refused
        some, others = charges.take(drawn_r), charges.take(~drawn_r)
        audited = AuditedPopulation.of(
            some.tokens_r.tolist(),
            rng.permutation(len(some)).tolist(),
            LengthTable.of_records(others.tokens_r),
            design,
        )
        limits.append(Exposure.of(some, audited, verifier.policy, vocabulary).leading.limit.bits)
    return limits


def _by_day(found: Judgement, honest: HonestRates, rng: np.random.Generator) -> dict[str, float]:
    """Share of days whose audit as a whole is an alarm; a day's records are drawn without replacement."""
    p_value_r = np.array([record.p_value for record in found.records])
    flagged_r = np.array([record.flagged for record in found.records])
    day = max(len(p_value_r) // AUDITED, 1)
    days = [rng.choice(len(p_value_r), day, replace=False) for _ in range(DAYS)]
    p_values = np.array(
        [
            run_p_value(
                honest,
                p_value_r=p_value_r[d],
                flagged=int(flagged_r[d].sum()),
                tokens_r=found.charges.tokens_r[d],
                log_ratio_rk=found.tally.log_ratio_rk[d],
            )
            for d in days
        ]
    )
    return {f"{rate:g}": float((p_values <= rate).mean()) for rate in RATES}


def _tokens_to_alarm(found: Judgement, verifier: Verifier, rng: np.random.Generator) -> float | None:
    """Median number of tokens over random orders of the records."""
    watched = found.watched
    bits = float(np.log2(verifier.replayer.identity.vocabulary))
    longest = float(watched["tokens"].max())
    waited = []
    for _ in range(SERIES):
        monitor = SeriesMonitor.new(verifier.policy, bits, longest)
        tokens = 0.0
        for at in rng.permutation(len(found.records)):
            monitor.add({name: column[at : at + 1] for name, column in watched.items()})
            tokens += float(watched["tokens"][at])
            if monitor.alarms_at(FALSE_ALARM):
                break
        else:
            tokens = np.inf
        waited.append(tokens)
    median = float(np.median(waited))
    return median if np.isfinite(median) else None
