import math
from dataclasses import replace

import numpy as np
import pytest

from weightwarden.sampler.types import BoolArray, IntArray
from weightwarden.verifier.candidates.layout import at_levels
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.scoring.threshold_sweep import MARGIN_GRID, ThresholdSweep, ThresholdSweepPoint, fits
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance, score
from weightwarden.verifier.scoring.token_verdicts import Verdict, judge_tokens

V = 3000  # no power of two
RECORDS = 12
WIDEST = Tolerance(margin=MARGIN_EDGES[-1], logit_slack=0.1, mass_slack=0.01)


def table_of(rng: np.random.Generator, n: int = 1500, k: int = 9) -> CandidateTable:
    """Random candidates around every threshold of the grid and both cuts."""
    scores = rng.choice([0.02, 0.2, 1.0], (n, k)) * rng.normal(size=(n, k))
    scores[:, 0] += rng.choice([0.0, 0.0, 2.0], n)
    empty = rng.random((n, k)) < 0.3
    empty[:, 0] = False
    scores = np.where(empty, -np.inf, scores)
    mass = np.sort(rng.uniform(0.5, 1.0, (n, k, 2)), axis=2)
    return CandidateTable(
        ids_nk=np.where(empty, -1, np.arange(k)),
        slope_nk=np.ones((n, k)),
        scores_nk=scores,
        score_min_nke=at_levels(scores, 1),
        score_max_nke=at_levels(scores, 1),
        logit_distance_nk=np.where(
            empty, -np.inf, rng.choice([-1.0, -0.05, 0.05, 2.0], (n, k), p=[0.1, 0.1, 0.2, 0.6])
        ),
        mass_above_min_nke=mass[:, :, :1],
        mass_above_max_nke=mass[:, :, 1:],
        top_p_n=rng.choice([0.9, 1.0], n),
        mass_scale_n=np.ones(n),
        steepest_n=np.ones(n),
        exact_n=np.zeros(n, np.bool_),
        logit_rank_n=np.minimum(V, (10.0 ** rng.uniform(0, 3.6, n)).astype(np.int64)),
        gumbel_rank_n=np.ones(n, np.int64),
        cdf_low_n=np.full(n, np.nan),
        cdf_high_n=np.full(n, np.nan),
        unseen_scores_nu=np.empty((n, 0)),
        contradicted_n=np.zeros(n, np.bool_),
        standing_n=np.zeros(n, np.int8),
        open_n=np.zeros(n, np.bool_),
    )


def traffic(seed: int = 1) -> tuple[CandidateTable, IntArray, ThresholdSweep]:
    """A table, whose record each position is of, and the trade-off of it all, added in three chunks."""
    rng = np.random.default_rng(seed)
    table = table_of(rng)
    record_n = rng.integers(0, RECORDS, len(table))
    trade_off, scores = ThresholdSweep(V, RECORDS), score(table, WIDEST, 0)
    chunk = rng.integers(0, 3, len(table))
    for i in range(3):
        trade_off.add(record_n[chunk == i], scores.take(chunk == i))
    return table, record_n, trade_off


def direct_point(table: CandidateTable, which: BoolArray, margin: float, rank_limit: int) -> ThresholdSweepPoint:
    """The point of some positions, by scoring and judging every token at that threshold."""
    scores = score(table, replace(WIDEST, margin=margin), 0).take(which)
    judged = judge_tokens(scores, margin, rank_limit, V)
    return ThresholdSweepPoint(
        margin=margin,
        rank_limit=rank_limit,
        suspicious=float(np.mean(judged.verdict_n == Verdict.SUSPICIOUS)),
        dangerous=float(np.mean(judged.verdict_n == Verdict.DANGEROUS)),
        outliers=float(np.mean(scores.margin_n > MARGIN_EDGES[-1])),
        bits_per_token=float(np.mean(judged.charged_bits_n)),
    )


def assert_same(found: ThresholdSweepPoint, expected: ThresholdSweepPoint) -> None:
    assert (found.margin, found.rank_limit) == (expected.margin, expected.rank_limit)
    for name in ("suspicious", "dangerous", "outliers", "bits_per_token"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-9), (name, found.margin)


@pytest.mark.parametrize("rank_limit", [1, 2, 64, V])
def test_every_point_is_what_scoring_and_judging_at_that_threshold_gives(rank_limit: int) -> None:
    table, _, trade_off = traffic()
    everything = np.ones(len(table), np.bool_)
    points = trade_off.points(rank_limit)
    assert [point.margin for point in points] == list(MARGIN_GRID)
    for point in points:
        assert_same(point, direct_point(table, everything, point.margin, rank_limit))
    assert points[0].suspicious + points[0].dangerous > points[-1].suspicious + points[-1].dangerous > 0


def test_points_of_some_records_are_those_of_their_positions_alone() -> None:
    table, record_n, trade_off = traffic()
    which_r = np.arange(RECORDS) % 3 == 1
    some, every = trade_off.points(32, which_r), trade_off.points(32)
    for point in some:
        assert_same(point, direct_point(table, which_r[record_n], point.margin, 32))
    assert some != every
    assert trade_off.points(32, np.ones(RECORDS, np.bool_)) == every


@pytest.mark.parametrize("max_dangerous", [0.0, 0.002, 0.01, 0.05, 0.1, 1.0])
def test_best_points_have_the_smallest_power_of_two_that_fits(max_dangerous: float) -> None:
    table, _, trade_off = traffic()
    everything = np.ones(len(table), np.bool_)
    best = trade_off.best_points(max_dangerous)
    assert [point.margin for point in best] == list(MARGIN_GRID)
    powers = [2**k for k in range(1, 12)]
    assert powers[-1] < V < 2 * powers[-1]
    for point in best:
        fitting = (
            limit for limit in powers if direct_point(table, everything, point.margin, limit).dangerous <= max_dangerous
        )
        limit = next(fitting, V)
        assert_same(point, direct_point(table, everything, point.margin, limit))
    if max_dangerous == 0.0:
        assert {point.rank_limit for point in best} == {V}
    if max_dangerous == 0.05:
        assert len({point.rank_limit for point in best}) > 1


def test_traffic_with_every_token_safe_at_every_threshold_charges_its_alternatives_only() -> None:
    table, record_n, _ = traffic()
    scores = score(table, WIDEST, 0)
    clean = replace(scores, margin_n=np.zeros(len(scores)))
    trade_off = ThresholdSweep(V, RECORDS)
    trade_off.add(record_n, clean)
    for point in trade_off.points(64):
        alternatives = (clean.rival_margin_nk <= point.margin).sum(axis=1)
        assert (point.suspicious, point.dangerous, point.outliers) == (0.0, 0.0, 0.0)
        assert point.bits_per_token == pytest.approx(np.log2(1 + alternatives).mean())
    assert {point.rank_limit for point in trade_off.best_points(0.0)} == {2}


def test_outliers_are_tokens_beyond_the_last_edge_and_infinite_ones() -> None:
    edge = MARGIN_EDGES[-1]
    nothing = np.ones(5, np.int64)
    margins = np.array([0.0, edge, np.nextafter(edge, 2.0), 40.0, np.inf])
    trade_off = ThresholdSweep(V, 1)
    trade_off.add(
        np.zeros(5, np.int64),
        TokenScores(
            margin_n=margins,
            exact_n=margins == 0,
            logit_rank_n=nothing,
            gumbel_rank_n=nothing,
            admissible_n=nothing,
            rival_margin_nk=np.full((5, 1), np.nan),
            unseen_n=0 * nothing,
            unseen_margin_nu=np.empty((5, 0)),
            contradicted_n=np.zeros(5, np.bool_),
            standing_n=np.zeros(5, np.int8),
        ),
    )
    for point in trade_off.points(4):
        assert point.outliers == 3 / 5
        assert point.suspicious == np.mean(margins > point.margin)
        assert point.dangerous == 0.0
        assert point.bits_per_token == pytest.approx(point.suspicious * 2.0)


@pytest.mark.parametrize(
    ("suspicious", "dangerous", "outliers", "fitting"),
    [
        (0.0, 0.0, 0.0, True),
        (0.006, 0.002, 0.002, True),
        (0.009, 0.001, 0.0, True),
        (0.0095, 0.001, 0.0, False),
        (0.0, math.nextafter(0.002, 1.0), 0.0, False),
        (0.0, 0.0, math.nextafter(0.002, 1.0), False),
        (0.011, 0.0, 0.0, False),
    ],
)
def test_point_fits_when_dangerous_outlying_and_unsafe_tokens_are_few_enough(
    suspicious: float, dangerous: float, outliers: float, fitting: bool
) -> None:
    point = ThresholdSweepPoint(
        margin=0.1,
        rank_limit=32,
        suspicious=suspicious,
        dangerous=dangerous,
        outliers=outliers,
        bits_per_token=0.1,
    )
    assert fits(point, max_dangerous_rate=0.002, max_unsafe_rate=0.01) is fitting
