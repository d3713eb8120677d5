"""The alarm over a series: the conditional test and flagged records; rates of other events raise none."""

import json

import numpy as np
import pytest

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.scoring.likelihood_ratio import RESOLUTION
from weightwarden.verifier.server.audit.verdict_rows import pack_ratios, ratios_of
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.verification.series_monitor import (
    CONDITIONAL_SHARE,
    LOG_RATIO,
    WATCHED,
    SeriesMonitor,
)

BITS = 16.0
FALSE_ALARM = 1e-4


def audits(policy: Policy, *, records: int, tokens: int = 100, log_ratio: float = -0.2) -> dict[str, FloatArray]:
    """Records without any event, and with this log ratio under the first bet."""
    columns = {name: np.zeros(records) for name in WATCHED} | {"tokens": np.full(records, float(tokens))}
    ratios = np.full((records, len(policy.likelihood_ratio_bets)), -0.5)
    ratios[:, 0] = log_ratio
    return columns | {LOG_RATIO: ratios}


def test_choices_too_many_alarm_without_any_event_and_records_without_tokens_do_not(bundled_policy: Policy) -> None:
    series, empty, calm = (SeriesMonitor.new(bundled_policy, BITS, 1024) for _ in range(3))
    series.add(audits(bundled_policy, records=40, log_ratio=0.6))
    empty.add(audits(bundled_policy, records=40, tokens=0, log_ratio=0.6))
    calm.add(audits(bundled_policy, records=40))
    assert series.alarms_at(FALSE_ALARM)
    assert empty.conditional.log_capital == pytest.approx(0.0)
    assert calm.p_value == 1.0


@pytest.mark.parametrize("log_ratio", [5.0, 1e4])
def test_one_record_alone_is_no_alarm_by_its_choices(bundled_policy: Policy, log_ratio: float) -> None:
    series = SeriesMonitor.new(bundled_policy, BITS, 1024)
    series.add(audits(bundled_policy, records=1, log_ratio=log_ratio) | {LOG_RATIO: np.full((1, 12), log_ratio)})
    assert not series.alarms_at(FALSE_ALARM)


def test_the_capital_is_of_the_conditional_test_and_of_flagged_records_alone(bundled_policy: Policy) -> None:
    series = SeriesMonitor.new(bundled_policy, BITS, 1024)
    columns = audits(bundled_policy, records=30, log_ratio=0.4)
    columns["flagged"][7] = 1.0
    series.add(columns)
    capital = CONDITIONAL_SHARE * np.exp(series.conditional.log_capital) + (1 - CONDITIONAL_SHARE) * np.exp(
        series.monitors["flagged"].log_capital
    )
    assert np.exp(series.log_capital) == pytest.approx(capital)
    assert len(series.monitors["mismatches"].weight_limits) == 4
    assert [len(series.monitors[name].weight_limits) for name in ("outlying", "flagged")] == [1, 1]


def test_rates_beyond_the_calibrations_raise_no_alarm_and_are_said(bundled_policy: Policy) -> None:
    """Short answers to prompts that leave more tokens likely: honest, and with three times the mismatches."""
    series, like = (SeriesMonitor.new(bundled_policy, BITS, 1024) for _ in range(2))
    columns = audits(bundled_policy, records=2000, tokens=12)
    columns["mismatches"][::2] = 1.0  # 4%
    columns["pooled_bits"][:] = 4.0
    columns["outlying"][::50] = 1.0
    series.add(columns)
    like.add(audits(bundled_policy, records=2000, tokens=12))
    assert series.p_value == 1.0
    assert series.unlike_calibration == "pooled_bits"
    assert like.unlike_calibration is None


def test_a_series_with_another_allowance_or_other_bets_is_refused(bundled_policy: Policy) -> None:
    for field, value in (("contamination", 0.0), ("log_capital_ck", np.zeros((3, 4)))):
        series = SeriesMonitor.new(bundled_policy, BITS, 1024)
        setattr(series.conditional, field, value)
        with pytest.raises(StatisticsError):
            series.check_made_for(bundled_policy)


def test_reports_and_databases_hold_ratios_exactly() -> None:
    rng = np.random.default_rng(6)
    ratios = np.floor(rng.normal(0, 1000, (50, 12)) / RESOLUTION) * RESOLUTION
    assert (np.array(json.loads(json.dumps(ratios.tolist()))) == ratios).all()
    assert (ratios_of([pack_ratios(row) for row in ratios], 12) == ratios).all()
    assert (ratios_of([b"", pack_ratios(ratios[0])], 12) == [np.zeros(12), ratios[0]]).all()
    with pytest.raises(ValueError, match="reshape"):
        ratios_of([pack_ratios(ratios[0])], 11)
