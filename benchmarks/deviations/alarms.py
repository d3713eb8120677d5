"""The figures of one deviation: its effect size, and the audited tokens until an alarm."""

from math import inf, log

import numpy as np

from benchmarks.deviations.bets import RecordFactors
from benchmarks.deviations.servers import Deviation
from benchmarks.results.tables.tokens_to_alarm import TokensToAlarmRow
from weightwarden.cli.options.effect_sizes import MeasuredGrowth
from weightwarden.sampler.types import FloatArray, IntArray

ROBUST_CAPS = np.geomspace(2, 1e6, 60)
"""Caps among which the best test of a known deviation chooses its own."""


def alarm_row(
    deviation: Deviation,
    ratio_n: FloatArray,
    record_n: IntArray,
    contamination: float,
    new: RecordFactors,
    old: RecordFactors,
    alarm_level: float,
    orders: int,
    most_records: int,
    rng: np.random.Generator,
) -> TokensToAlarmRow:
    """The row of a deviation.

    Args:
        ratio_n: ln of the likelihood ratio of each token, nats.
        record_n: record of each token.
        contamination: largest share of honest records that may hold anything.
        new: factors of the monitor.
        old: factors of the monitor before it had the conditional test, and several weight limits.
    """
    tokens, records = len(ratio_n), len(new.tokens_r)
    nats_per_token = float(ratio_n.sum()) / tokens
    ratio_r: FloatArray = np.bincount(record_n, ratio_n, records).astype(np.float64)
    robust = robust_growth(ratio_r, contamination) * records / tokens
    return TokensToAlarmRow(
        deviation=deviation.name,
        tokens=tokens,
        records=records,
        nats_per_token=nats_per_token,
        optimum_tokens=log(1 / alarm_level) / nats_per_token,
        robust_optimum_tokens=log(1 / alarm_level) / robust if robust > 0 else None,
        tokens_to_alarm=_median(new, alarm_level, orders, most_records, rng),
        tokens_to_alarm_before=_median(old, alarm_level, orders, most_records, rng),
    )


def robust_growth(ratio_r: FloatArray, contamination: float) -> float:
    """Nats a record of the best capped likelihood ratio of a known deviation, where honest records may hold anything.

    Args:
        ratio_r: ln of the likelihood ratio of each record, nats.
    """
    capped_cr = np.minimum(ratio_r, np.log(ROBUST_CAPS)[:, None])
    return float((capped_cr.mean(axis=1) - np.log1p(contamination * (ROBUST_CAPS - 1))).max())


def growths(new: RecordFactors) -> list[MeasuredGrowth]:
    """The bets that matter for the time to an alarm, as stored."""
    return [
        MeasuredGrowth(
            bet=growth.bet,
            log_share=growth.log_share,
            nats_per_record=growth.nats_per_record,
            variance_per_record=growth.variance_per_record,
        )
        for growth in new.growths()
    ]


def _median(
    factors: RecordFactors, alarm_level: float, orders: int, most_records: int, rng: np.random.Generator
) -> float | None:
    """Median of the tokens to the alarm over random orders; None where most have none."""
    waited = [factors.tokens_to_alarm(alarm_level, rng, most_records) for _ in range(orders)]
    median = float(np.median(waited))
    return None if median == inf or np.isnan(median) else median
