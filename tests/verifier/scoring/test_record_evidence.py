import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, TokenNoise, margin_bins
from weightwarden.verifier.scoring.record_evidence import RecordEvidence, RecordEvidenceAccumulator
from weightwarden.verifier.scoring.token_scores import TokenScores

EDGES = np.array(MARGIN_EDGES)
LEVELS = (0.05, 0.01, 0.001)
BEYOND_RATE = 5e-4
"""How often an honest token of these simulations lies beyond every bin."""


def noise(scale: float, floor: float, outlier_margin: float, outlier_upper: float) -> TokenNoise:
    """Bounds as of Gaussian noise of standard deviation `scale` logits, between `floor` and 0.45."""
    upper = np.clip(ndtr(-EDGES[:-1] / (scale * math.sqrt(2))), floor, 0.45)
    return TokenNoise(edges_b=EDGES, upper_b=upper, outlier_margin=outlier_margin, outlier_upper=outlier_upper)


# An honest token beyond 1 logit, or beyond 0.3, is an outlier; its rate below is exactly the bound.
BEYOND_ALL = noise(0.05, 1e-3, 1.0, BEYOND_RATE)
BEYOND_SOME = noise(0.05, 5e-4, 0.3, 5e-4 + BEYOND_RATE)


class Traffic:
    """Simulated records: what each position offers, and which token was taken.

    Each position may offer two rivals of up to 0.3 logits and one of 0.3 to 1, each with probability `density`.
    """

    def __init__(self, rng: np.random.Generator, records: int, length: int, density: float = 1.0) -> None:
        positions = records * length
        self.records, self.length = records, length
        self.record_n: IntArray = np.repeat(np.arange(records), length)
        self.margin_n: FloatArray = np.zeros(positions)
        self.exact_n: BoolArray | None = None  # where the margin is 0, unless set
        self.rival_nk: FloatArray = rng.uniform([0.0, 0.0, 0.3], [0.3, 0.3, 1.0], (positions, 3))
        self.rival_nk[rng.random((positions, 3)) >= density] = np.nan

    def emit(self, rng: np.random.Generator, chances_b: FloatArray, beyond: float) -> "Traffic":
        """Emit every token: a rival of bin b with probability chances_b[b], one beyond every bin with `beyond`."""
        bins = margin_bins(self.rival_nk, EDGES)
        chances = np.where(bins >= 0, np.append(chances_b, 0.0)[bins], 0.0)
        assert chances.sum(axis=1).max() + beyond <= 1
        reach = np.cumsum(np.column_stack([np.full(len(chances), beyond), chances]), axis=1)
        taken = (rng.random(len(chances))[:, None] >= reach).sum(axis=1) - 1
        self.margin_n[taken == -1] = np.inf
        which = (taken >= 0) & (taken < 3)
        self.take(which, np.where(which, taken, 0))
        return self

    def take(self, which: BoolArray, column_n: IntArray) -> None:
        """Emit one of the rivals where `which`; the replay's own choice becomes a rival of margin 0."""
        rows = np.flatnonzero(which)
        self.margin_n[rows] = self.rival_nk[rows, column_n[rows]]
        self.rival_nk[rows, column_n[rows]] = 0.0

    def alter(self, rng: np.random.Generator, count: int, low: float, high: float) -> None:
        """Replace `count` tokens of each record by tokens with margins between low and high."""
        for record in range(self.records):
            at = record * self.length + rng.choice(self.length, count, replace=False)
            self.margin_n[at] = rng.uniform(low, high, count)

    def scores(self) -> TokenScores:
        nothing = np.ones(len(self.margin_n), np.int64)
        return TokenScores(
            margin_n=self.margin_n,
            exact_n=self.margin_n == 0 if self.exact_n is None else self.exact_n,
            logit_rank_n=nothing,
            gumbel_rank_n=nothing,
            admissible_n=nothing,
            rival_margin_nk=self.rival_nk,
            unseen_n=0 * nothing,
            unseen_margin_nu=np.empty((len(self.margin_n), 0)),
            contradicted_n=np.zeros(len(self.margin_n), np.bool_),
            standing_n=np.zeros(len(self.margin_n), np.int8),
        )

    def evidence(self, bounds: TokenNoise) -> list[RecordEvidence]:
        test = RecordEvidenceAccumulator(bounds, self.records)
        test.add(self.record_n, self.scores())
        return [test.evidence(record) for record in range(self.records)]

    def p_values(self, bounds: TokenNoise) -> FloatArray:
        return np.array([evidence.p_value for evidence in self.evidence(bounds)])


def share_limit(level: float, trials: int) -> float:
    """The level, and two standard errors of a share of `trials`."""
    return level + 2 * math.sqrt(level * (1 - level) / trials)


# False alarms of a record


@pytest.mark.parametrize(("length", "records"), [(10, 8000), (100, 3000), (400, 1500)])
@pytest.mark.parametrize("share", [1.0, 0.5], ids=["G at its bound", "G at half its bound"])
@pytest.mark.parametrize("bounds", [BEYOND_ALL, BEYOND_SOME], ids=["outliers beyond 1", "outliers beyond 0.3"])
def test_share_of_honest_records_below_a_p_value_is_at_most_that_p_value(
    bounds: TokenNoise, share: float, length: int, records: int
) -> None:
    rng = np.random.default_rng(1)
    traffic = Traffic(rng, records, length).emit(rng, share * bounds.upper_b, share * BEYOND_RATE)
    p = traffic.p_values(bounds)
    for level in LEVELS:
        assert (p <= level).mean() <= share_limit(level, records), level


def test_each_test_alone_keeps_its_level_where_few_rivals_are_offered() -> None:
    rng, records = np.random.default_rng(2), 3000
    found = Traffic(rng, records, 200, 0.1).emit(rng, BEYOND_SOME.upper_b, BEYOND_RATE).evidence(BEYOND_SOME)
    for level in LEVELS:
        assert np.mean([evidence.worst_p <= level for evidence in found]) <= share_limit(level, records)
        assert np.mean([evidence.total_p <= level for evidence in found]) <= share_limit(level, records)


@pytest.mark.parametrize(("share", "beyond"), [(2.0, BEYOND_RATE), (1.0, 20 * BEYOND_RATE)], ids=["total", "outliers"])
def test_records_noisier_than_the_bounds_alarm_more_often_than_the_level(share: float, beyond: float) -> None:
    """So the tests above would notice a bound that does not hold."""
    rng, records = np.random.default_rng(3), 300
    chances = np.minimum(share * BEYOND_ALL.upper_b, 0.45)
    p = Traffic(rng, records, 400).emit(rng, chances, beyond).p_values(BEYOND_ALL)
    assert (p <= 0.01).mean() > 0.5


# Power


@pytest.mark.parametrize("length", [20, 100, 400])
@pytest.mark.parametrize("bounds", [BEYOND_ALL, BEYOND_SOME], ids=["outliers beyond 1", "outliers beyond 0.3"])
def test_records_with_ten_outliers_are_flagged(bounds: TokenNoise, length: int) -> None:
    rng = np.random.default_rng(4)
    traffic = Traffic(rng, 300, length).emit(rng, bounds.upper_b, BEYOND_RATE)
    traffic.alter(rng, 10, 1.5, 30.0)
    assert (traffic.p_values(bounds) <= 1e-3).mean() >= 0.99


@pytest.mark.parametrize("length", [20, 100, 400])
@pytest.mark.parametrize("bounds", [BEYOND_ALL, BEYOND_SOME], ids=["outliers beyond 1", "outliers beyond 0.3"])
def test_records_with_ten_tokens_half_a_logit_to_one_below_are_flagged(bounds: TokenNoise, length: int) -> None:
    rng = np.random.default_rng(5)
    traffic = Traffic(rng, 500, length, 0.2).emit(rng, bounds.upper_b, BEYOND_RATE)
    traffic.alter(rng, 10, 0.5, 1.0)
    found = traffic.evidence(bounds)
    assert np.mean([evidence.p_value <= 1e-3 for evidence in found]) >= 0.99
    if bounds is BEYOND_ALL:  # none of them is an outlier: the total alone finds them
        assert np.mean([2 * evidence.total_p <= 1e-3 for evidence in found]) >= 0.99


def test_records_that_take_every_third_admissible_alternative_are_flagged() -> None:
    """At noise of 0.03 logits; at 0.05 an honest server takes such alternatives nearly as often itself."""
    rng, bounds = np.random.default_rng(6), noise(0.03, 5e-4, 0.3, 1e-3)
    traffic = Traffic(rng, 300, 400, 0.3)
    offered = traffic.rival_nk <= 0.15
    turn = np.cumsum(offered.any(axis=1).reshape(300, 400), axis=1).ravel()
    traffic.take(offered.any(axis=1) & (turn % 3 == 0), offered.argmax(axis=1))
    found = traffic.evidence(bounds)
    assert all(evidence.outliers == 0 for evidence in found)
    assert np.mean([evidence.p_value <= 1e-3 for evidence in found]) >= 0.99


# A lone token


def test_a_lone_outlier_never_flags_its_record_whatever_its_length_and_noise() -> None:
    rng = np.random.default_rng(7)
    for _ in range(300):
        upper = np.sort(10.0 ** rng.uniform(-9, -0.31, len(EDGES) - 1))[::-1]
        edge = float(rng.choice(EDGES[1:]))
        bounds = TokenNoise(
            edges_b=EDGES, upper_b=upper, outlier_margin=edge, outlier_upper=float(10.0 ** rng.uniform(-9, -3))
        )
        length = int(rng.integers(1, 500))
        traffic = Traffic(rng, 1, length, rng.random())
        traffic.margin_n[rng.integers(length)] = rng.choice([np.nextafter(edge, np.inf), 2 * edge, 50.0, np.inf])
        (evidence,) = traffic.evidence(bounds)
        assert (evidence.outliers, evidence.tokens) == (1, length)
        assert (evidence.worst_p, evidence.p_value) == (1.0, 1.0)


@pytest.mark.parametrize("length", [2, 10, 50])
def test_two_outliers_flag_a_short_record(length: int) -> None:
    traffic = Traffic(np.random.default_rng(8), 1, length)
    traffic.margin_n[:2] = np.inf
    (evidence,) = traffic.evidence(BEYOND_ALL)
    assert evidence.outliers == 2
    assert evidence.worst_p == pytest.approx(
        1 - (1 - BEYOND_RATE) ** length - length * BEYOND_RATE * (1 - BEYOND_RATE) ** (length - 1), rel=1e-6
    )
    assert evidence.p_value <= 1e-3


def test_a_token_exactly_at_the_outlier_margin_is_no_outlier() -> None:
    traffic = Traffic(np.random.default_rng(9), 1, 50)
    traffic.margin_n[:2] = BEYOND_SOME.outlier_margin
    (evidence,) = traffic.evidence(BEYOND_SOME)
    assert (evidence.outliers, evidence.worst_p) == (0, 1.0)


# The total


def test_total_is_the_chernoff_bound_minimised_over_its_tilts() -> None:
    rng = np.random.default_rng(10)
    traffic = Traffic(rng, 20, 30, 0.5).emit(rng, BEYOND_SOME.upper_b, 0.02)
    found = traffic.evidence(BEYOND_SOME)
    chances = [*BEYOND_SOME.upper_b, BEYOND_SOME.outlier_upper]

    def bin_of(margin: float) -> int:
        return sum(margin > edge for edge in MARGIN_EDGES) - 1

    for record in range(20):
        at = np.flatnonzero(traffic.record_n == record)
        costs = [-math.log(chances[bin_of(m)]) if m > 0 else 0.0 for m in traffic.margin_n[at]]
        total, bound = sum(costs) - max(costs), 0.0
        for tilt in np.linspace(0, 1, 26):
            exponent = -tilt * total
            for t in at:
                bins = {len(chances) - 1: 1}
                for m in (traffic.margin_n[t], *traffic.rival_nk[t]):
                    if m > 0 and bin_of(m) < len(chances) - 1:
                        bins[bin_of(m)] = bins.get(bin_of(m), 0) + 1
                exponent += math.log1p(sum(k * chances[b] * (chances[b] ** -tilt - 1) for b, k in bins.items()))
            bound = min(bound, exponent)
        assert found[record].total_p == pytest.approx(math.exp(bound), rel=1e-9)
        assert found[record].p_value == min(1.0, 2 * min(found[record].worst_p, found[record].total_p))


def boundary_traffic(rng: np.random.Generator, records: int, length: int, share: float) -> Traffic:
    """Positions with one boundary alternative each, which the server takes with this probability."""
    traffic = Traffic(rng, records, length)
    traffic.rival_nk[:] = np.nan
    traffic.rival_nk[:, 0] = 0.0
    traffic.exact_n = rng.random(records * length) >= share
    return traffic


def test_boundary_alternatives_are_evidence_where_the_noise_bounds_them() -> None:
    bounded = replace(BEYOND_SOME, boundary_upper=0.25)
    often = boundary_traffic(np.random.default_rng(20), 10, 60, 0.9)
    assert all(evidence.total_p < 1e-3 and evidence.reasons for evidence in often.evidence(bounded))
    assert all(evidence.total_p == 1 and not evidence.reasons for evidence in often.evidence(BEYOND_SOME))
    one = boundary_traffic(np.random.default_rng(21), 1, 60, 0.5)
    assert one.exact_n is not None
    taken = int((~one.exact_n).sum())
    (evidence,) = one.evidence(bounded)
    tilts, outlier = np.linspace(0, 1, 26), bounded.outlier_upper
    offered = 0.25 * (0.25**-tilts - 1) + outlier * (outlier**-tilts - 1)
    exponents = 60 * np.log1p(offered) + tilts * (taken - 1) * np.log(0.25)
    assert evidence.total_p == pytest.approx(math.exp(exponents.min()), rel=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_honest_records_that_take_the_boundary_as_often_as_the_bound_are_seldom_flagged(level: float) -> None:
    rng, records = np.random.default_rng(22), 2000
    found = boundary_traffic(rng, records, 60, 0.25).evidence(replace(BEYOND_SOME, boundary_upper=0.25))
    assert np.mean([evidence.total_p <= level for evidence in found]) <= share_limit(level, records)


def test_evidence_does_not_depend_on_the_order_or_the_chunks_of_positions() -> None:
    rng = np.random.default_rng(11)
    traffic = Traffic(rng, 40, 100).emit(rng, np.minimum(3 * BEYOND_SOME.upper_b, 0.45), 0.01)
    whole, scores = traffic.evidence(BEYOND_SOME), traffic.scores()
    assert len({evidence.total_p for evidence in whole}) > 20
    assert len({evidence.worst_p for evidence in whole}) > 2
    test = RecordEvidenceAccumulator(BEYOND_SOME, 40)
    order = rng.permutation(len(scores))
    for chunk in np.split(order, np.sort(rng.integers(0, len(order), 30))):
        which = np.zeros(len(scores), np.bool_)
        which[chunk] = True
        test.add(traffic.record_n[which], scores.take(which))
    for record, expected in enumerate(whole):
        found = test.evidence(record)
        assert (found.tokens, found.outliers, found.worst_p) == (expected.tokens, expected.outliers, expected.worst_p)
        assert found.total_p == pytest.approx(expected.total_p, rel=1e-9)


def test_record_without_positions_has_no_evidence() -> None:
    traffic = Traffic(np.random.default_rng(12), 1, 5)
    test = RecordEvidenceAccumulator(BEYOND_ALL, 2)
    test.add(traffic.record_n, traffic.scores())
    assert test.evidence(0).tokens == 5
    with pytest.raises(ValueError, match="record 1 has no replayed position"):
        test.evidence(1)
