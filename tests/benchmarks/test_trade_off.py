"""The trade-off curve counts what verification counts, chooses on one half, and keeps what it replayed."""

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.trade_off.curve import RATES, counting_curve, pooled_curve
from benchmarks.trade_off.replayed import Replayed, replayed
from benchmarks.trade_off.scored import PUBLISHED, Choice, Scored, Slack
from tests.conftest import FILTERED, records_of
from verifier.calibration import split_halves
from verifier.replay import Replayer
from verifier.tradeoff import MARGIN_GRID, TradeOff
from verifier.transformers_replay import TransformersReplayer

VOCABULARY = 49_152


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def series(replayer: TransformersReplayer, cache: Path) -> Replayed:
    return replayed(records_of(FILTERED)[:24], lambda: replayer, cache, lambda _: None)


@pytest.fixture(scope="module")
def scored(series: Replayed) -> Scored:
    return Scored(series, Slack(0.3, 0.015), VOCABULARY)


def test_what_was_replayed_is_not_replayed_again(series: Replayed, cache: Path) -> None:
    def never() -> Replayer:
        raise AssertionError

    again = replayed(series.records, never, cache, lambda _: None)
    for one, other in zip(series.tables, again.tables, strict=True):
        np.testing.assert_array_equal(one.table.scores_nk, other.table.scores_nk)
        np.testing.assert_array_equal(one.record_n, other.record_n)


def test_a_threshold_makes_of_records_what_the_trade_off_of_a_policy_says(scored: Scored) -> None:
    reference = TradeOff(VOCABULARY, scored.records)
    for record_n, scores in scored.parts:
        reference.add(record_n, scores)
    everything = np.ones(scored.records, np.bool_)
    for point in reference.points(16):
        sums = scored.sums(Choice(point.margin, 16), everything)
        assert sums.bits_per_token == pytest.approx(point.bits_per_token)
        assert sums.dangerous == pytest.approx(point.dangerous)
    assert len(reference.points(16)) == len(MARGIN_GRID)


def test_without_slack_honest_tokens_fall_out_of_the_support(series: Replayed, scored: Scored) -> None:
    published = Scored(series, PUBLISHED, VOCABULARY)
    everything = np.ones(scored.records, np.bool_)
    assert len(published.beyond(1.0, everything)) > len(scored.beyond(1.0, everything))


@pytest.mark.parametrize("curve", [counting_curve, pooled_curve])
@pytest.mark.parametrize("graded", [True, False])
def test_curves_fall_as_more_false_positives_are_allowed(scored: Scored, curve: object, graded: bool) -> None:
    half_r = split_halves(records_of(FILTERED)[:24], 0)
    make = partial(counting_curve if curve is counting_curve else pooled_curve, graded=graded)
    points = make(scored, half_r)
    assert [point.rate for point in points] == [rate for rate in RATES if rate in {p.rate for p in points}]
    choosing = [
        scored.sums(Choice(point.margin, point.rank_limit), half_r) for point in points if curve is counting_curve
    ]
    for point, sums in zip(points, choosing, strict=False):
        assert sums.dangerous <= point.rate
    assert all(one.bits_per_token >= other.bits_per_token for one, other in itertools.pairwise(choosing))
    for point in points:
        assert 0 < point.low <= point.bits_per_token <= point.high < np.log2(VOCABULARY)


def test_what_chooses_a_code_does_not_judge_it(scored: Scored) -> None:
    """With the halves swapped another code is made, from the other records alone."""
    half_r = split_halves(records_of(FILTERED)[:24], 0)
    edges = np.array([0.0, 0.05, 0.1, 0.2])
    one, other = (scored.pooled_code(edges, 16, which) for which in (half_r, ~half_r))
    assert not np.array_equal(one.log_odds_c, other.log_odds_c)
    assert (np.diff(one.log_odds_c[1:]) <= 0).all()
    assert scored.entropy(one, ~half_r) > 0
