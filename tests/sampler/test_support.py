"""The filters against loops over sorted lists.

Logits are multiples of 1/64 and cuts fall between those multiples, so that a comparison never hangs on rounding; ties
are frequent, because few multiples are used.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weightwarden.sampler.support import (
    Filters,
    MassProfile,
    Support,
    counts_above,
    kept_before_top_p,
    logit_distance,
    support_of_head,
)
from weightwarden.sampler.types import FloatArray

GRID = 1 / 64
BETWEEN = GRID / 4
"""Added to a slack, so that no two logits are exactly that far apart."""
seeded = settings(deadline=None, derandomize=True, max_examples=100)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One position: its logits (descending) and filters; `min_p_depth` in logits below the largest, None when off."""

    logits: list[float]
    temperature: float
    top_k: int
    top_p: float
    min_p_depth: float | None

    @property
    def min_p(self) -> float:
        return 0.0 if self.min_p_depth is None else math.exp(-self.min_p_depth / self.temperature)


def filters_of(rows: list[Row]) -> Filters:
    return Filters(
        temperature_n=np.array([row.temperature for row in rows]),
        top_k_n=np.array([row.top_k for row in rows], np.int64),
        top_p_n=np.array([row.top_p for row in rows]),
        min_p_n=np.array([row.min_p for row in rows]),
    )


def logits_of(rows: list[Row]) -> FloatArray:
    return np.array([row.logits for row in rows], np.float64)


def support_of(rows: list[Row], slacks: tuple[float, ...] = (BETWEEN,)) -> Support:
    return support_of_head(logits_of(rows), filters_of(rows), None, np.array(slacks))


# The reference: one row, one token at a time


def cut(row: Row) -> list[float]:
    """The logits that min-p and then top-k leave: a tie at the k-th largest stays."""
    largest = max(row.logits)
    left = [x for x in row.logits if x > -math.inf]
    if row.min_p_depth is not None:
        left = [x for x in left if largest - x <= row.min_p_depth]
    by_size = sorted(left, reverse=True)
    if row.top_k < len(by_size):
        left = [x for x in left if x >= by_size[row.top_k - 1]]
    return left


def mass(row: Row, logits: list[float]) -> float:
    """Probability of some logits, renormalised over what min-p and top-k leave."""
    largest = max(row.logits)
    weights = {x: math.exp((x - largest) / row.temperature) for x in {*logits, *cut(row)}}
    return math.fsum(weights[x] for x in logits) / math.fsum(weights[x] for x in cut(row))


def mass_above(row: Row, threshold: float) -> float:
    return mass(row, [x for x in cut(row) if x > threshold])


def mass_of_others_not_below(row: Row, index: int, threshold: float) -> float:
    """Mass of the other tokens whose logit is not below a threshold."""
    left = cut(row)
    others = [x for x in left if x >= threshold]
    if row.logits[index] in others:
        others.remove(row.logits[index])
    return mass(row, others)


def in_support(row: Row, logit: float) -> bool:
    return logit in cut(row) and mass_above(row, logit) < row.top_p


def distance_from_cuts(row: Row, value: float) -> float:
    """Distance from the nearer of the min-p and top-k cuts, logits."""
    if value == -math.inf:
        return -math.inf
    distances = [math.inf]
    if row.min_p_depth is not None:
        distances.append(row.min_p_depth - (max(row.logits) - value))
    if row.top_k < len(row.logits):
        by_size = sorted(row.logits, reverse=True)
        last_kept, first_out = by_size[row.top_k - 1], by_size[row.top_k]
        distances.append(value - first_out if value >= last_kept else value - last_kept)
    return min(distances)


# Strategies

depths = st.integers(0, 40) | st.integers(0, 6).map(lambda i: 64 * i)
"""In units of 1/64 logit; the second kind makes ties."""


@st.composite
def single_rows(draw: st.DrawFn, width: int, *, masked: bool = False) -> Row:
    below = sorted(draw(st.lists(depths, min_size=width - 1, max_size=width - 1)))
    top = draw(st.integers(-640, 640))
    logits = [(top - depth) * GRID for depth in (0, *below)]
    if masked:
        count = draw(st.integers(1, width - 1))
        logits[width - count :] = [-math.inf] * count
    return Row(
        logits=logits,
        temperature=draw(st.sampled_from([0.5, 1.0, 1.7])),
        top_k=draw(st.integers(1, width + 2)),
        top_p=draw(st.sampled_from([1.0, 1.0, 0.95, 0.5, 0.1, 1e-6]) | st.floats(0.01, 0.999)),
        min_p_depth=draw(st.none() | st.integers(0, 300).map(lambda i: (i + 0.5) * GRID)),
    )


@st.composite
def blocks(draw: st.DrawFn, *, masked: bool = False) -> list[Row]:
    width = draw(st.integers(2, 9))
    return draw(st.lists(single_rows(width, masked=masked), min_size=1, max_size=4))


# Membership


@seeded
@given(rows=blocks())
def test_min_p_and_top_k_keep_what_the_reference_keeps(rows: list[Row]) -> None:
    kept = kept_before_top_p(logits_of(rows), filters_of(rows))
    assert kept.tolist() == [[x in cut(row) for x in row.logits] for row in rows]


@seeded
@given(rows=blocks())
def test_token_is_in_the_support_iff_the_mass_above_it_is_less_than_p(rows: list[Row]) -> None:
    assume(all(abs(mass_above(row, x) - row.top_p) > 1e-9 for row in rows for x in row.logits))
    nominal = support_of(rows).nominal_nk
    assert nominal.tolist() == [[in_support(row, x) for x in row.logits] for row in rows]


@seeded
@given(rows=blocks())
def test_largest_logit_and_its_ties_are_always_in_the_support(rows: list[Row]) -> None:
    nominal, logits = support_of(rows).nominal_nk, logits_of(rows)
    assert nominal[logits == logits[:, :1]].all()


@seeded
@given(rows=blocks())
def test_support_of_a_row_does_not_depend_on_the_rows_beside_it(rows: list[Row]) -> None:
    together = support_of(rows)
    for at, row in enumerate(rows):
        alone = support_of([row])
        np.testing.assert_array_equal(alone.nominal_nk[0], together.nominal_nk[at])
        np.testing.assert_array_equal(alone.logit_distance_nk[0], together.logit_distance_nk[at])
        np.testing.assert_allclose(alone.mass_above_min_nke[0], together.mass_above_min_nke[at], atol=1e-12)
        np.testing.assert_allclose(alone.mass_above_max_nke[0], together.mass_above_max_nke[at], atol=1e-12)


def one_row(
    logits: list[float],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p_depth: float | None = None,
) -> Row:
    return Row(
        logits=logits,
        temperature=temperature,
        top_k=len(logits) if top_k is None else top_k,
        top_p=top_p,
        min_p_depth=min_p_depth,
    )


@pytest.mark.parametrize(("top_k", "kept"), [(1, 1), (2, 4), (3, 4), (4, 4), (5, 5), (6, 6), (99, 6)])
def test_ties_at_the_top_k_threshold_stay(top_k: int, kept: int) -> None:
    nominal = support_of([one_row([3.0, 2.0, 2.0, 2.0, 1.0, 0.0], top_k=top_k)]).nominal_nk
    assert nominal[0].tolist() == [True] * kept + [False] * (6 - kept)


def test_ties_at_the_min_p_cut_survive() -> None:
    rows = [one_row([1.0, 1.0, 0.0, 0.0], min_p_depth=0.0), one_row([1.0, 0.5, 0.5, 0.25], min_p_depth=0.5)]
    assert support_of(rows).nominal_nk.tolist() == [[True, True, False, False], [True, True, True, False]]


def test_ties_at_the_top_p_cut_survive_together() -> None:
    # Probabilities 0.5, 0.25, 0.25: with p = 0.6 the second token is needed, and the third is its equal.
    row = one_row([math.log(2), 0.0, 0.0], top_p=0.6)
    assert support_of([row]).nominal_nk.tolist() == [[True, True, True]]


def test_token_that_reaches_p_is_the_last_that_stays() -> None:
    logits = [math.log(x) for x in (0.5, 0.3, 0.15, 0.05)]
    for top_p, kept in ((0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.94, 3), (0.96, 4), (1.0, 4)):
        nominal = support_of([one_row(logits, top_p=top_p)]).nominal_nk
        assert nominal[0].tolist() == [True] * kept + [False] * (4 - kept)


def test_token_with_exactly_p_above_it_is_out() -> None:
    logits = [2.0, 1.5, 1.0, 0.5]
    above = support_of([one_row(logits)]).mass_above_nk[0]
    for index in (1, 2, 3):
        for top_p, kept in ((above[index], index), (np.nextafter(above[index], 1), index + 1)):
            nominal = support_of([one_row(logits, top_p=float(top_p))]).nominal_nk
            assert nominal[0].tolist() == [True] * kept + [False] * (4 - kept)


def test_top_p_is_taken_over_the_renormalised_survivors_of_top_k_and_min_p() -> None:
    logits = [math.log(x) for x in (0.4, 0.3, 0.2, 0.1)]
    # Of the whole, 0.7 < 0.75 lies above the third token; of the three or two survivors, 7/9 and all.
    assert support_of([one_row(logits, top_p=0.75)]).nominal_nk.tolist() == [[True, True, True, False]]
    assert support_of([one_row(logits, top_p=0.75, top_k=3)]).nominal_nk.tolist() == [[True, True, False, False]]
    depth = math.log(0.4 / 0.15)
    assert support_of([one_row(logits, top_p=0.75, min_p_depth=depth)]).nominal_nk.tolist() == [
        [True, True, False, False]
    ]
    # Top-k = 2 makes the first 4/7 of the mass.
    assert support_of([one_row(logits, top_p=0.5, top_k=2)]).nominal_nk.tolist() == [[True, False, False, False]]


def test_temperature_widens_the_nucleus_and_the_min_p_support_but_not_top_k() -> None:
    logits = [2.0, 1.0, 0.0]
    hot, cold = (support_of([one_row(logits, temperature=t, top_p=0.75)]).nominal_nk[0] for t in (4.0, 0.5))
    assert (hot.sum(), cold.sum()) == (3, 1)
    filters = [
        Filters(temperature_n=np.array([t]), top_k_n=np.array([3]), top_p_n=np.array([1.0]), min_p_n=np.array([0.3]))
        for t in (4.0, 0.5)
    ]
    assert [kept_before_top_p(np.array([logits]), f).sum() for f in filters] == [3, 1]
    assert [support_of([one_row(logits, temperature=t, top_k=2)]).nominal_nk.sum() for t in (4.0, 0.5)] == [2, 2]


def test_top_p_of_one_cuts_nothing() -> None:
    assert support_of([one_row([0.0, -40.0])]).nominal_nk.tolist() == [[True, True]]


# The mass above each candidate


@seeded
@given(rows=blocks(), slack=st.integers(0, 200).map(lambda i: i * GRID + BETWEEN))
def test_mass_bounds_are_those_of_tokens_that_slack_could_move_past(rows: list[Row], slack: float) -> None:
    support = support_of(rows, (slack,))
    for at, row in enumerate(rows):
        for index, x in enumerate(row.logits):
            if x not in cut(row):
                continue
            assert support.mass_above_nk[at, index] == pytest.approx(mass_above(row, x), abs=1e-9)
            assert support.mass_above_min_nke[at, index, 0] == pytest.approx(mass_above(row, x + slack), abs=1e-9)
            expected = mass_of_others_not_below(row, index, x - slack)
            assert support.mass_above_max_nke[at, index, 0] == pytest.approx(expected, abs=1e-9)


@seeded
@given(rows=blocks())
def test_mass_bounds_enclose_the_mass_above_and_widen_with_the_slack(rows: list[Row]) -> None:
    support = support_of(rows, tuple(i * GRID + BETWEEN for i in (0, 1, 5, 64, 200)))
    kept = kept_before_top_p(logits_of(rows), filters_of(rows))
    least, most, above = support.mass_above_min_nke[kept], support.mass_above_max_nke[kept], support.mass_above_nk[kept]
    assert (least <= above[:, None] + 1e-12).all()
    assert (most >= above[:, None] - 1e-12).all()
    assert (np.diff(least, axis=1) <= 1e-12).all()
    assert (np.diff(most, axis=1) >= -1e-12).all()
    assert (least >= 0).all()
    assert (most <= 1 + 1e-12).all()


def test_token_exactly_at_the_slack_counts_as_possibly_above() -> None:
    rows = [one_row([3.0, 2.0, 1.0])] * 3
    weights = np.exp(np.array([3.0, 2.0, 1.0]))
    weights /= weights.sum()
    expected = [weights[1], weights[0] + weights[2], weights[0] + weights[1]]
    np.testing.assert_allclose(support_of(rows, (1.0,)).mass_above_max_nke[:, :, 0], [expected] * 3, atol=1e-12)


def test_without_slack_the_largest_mass_above_is_that_of_larger_and_equal_tokens() -> None:
    rows = [one_row([3.0, 2.0, 2.0, 1.0])] * 3
    weights = np.exp(np.array([3.0, 2.0, 2.0, 1.0]))
    weights /= weights.sum()
    expected = [0, weights[0] + weights[2], weights[0] + weights[1], 1 - weights[3]]
    np.testing.assert_allclose(support_of(rows, (0.0,)).mass_above_max_nke[:, :, 0], [expected] * 3, atol=1e-12)


def test_without_slack_the_smallest_mass_above_is_the_mass_above() -> None:
    support = support_of([one_row([3.0, 2.0, 2.0, 1.0])] * 3, (0.0,))
    np.testing.assert_array_equal(support.mass_above_min_nke[:, :, 0], support.mass_above_nk)


@seeded
@given(data=st.data(), rows=blocks())
def test_head_with_the_mass_of_the_whole_support_is_placed_as_in_the_whole_row(
    data: st.DataObject, rows: list[Row]
) -> None:
    width = len(rows[0].logits)
    rows = [one_row(r.logits, temperature=r.temperature, top_p=r.top_p, min_p_depth=r.min_p_depth) for r in rows]
    size = data.draw(st.integers(1, width))
    logits, filters = logits_of(rows), filters_of(rows)
    whole = support_of_head(logits, filters, None, np.array([BETWEEN]))
    log_mass = np.array([math.log(math.fsum(math.exp(x / row.temperature) for x in cut(row))) for row in rows])
    assume((np.abs(whole.mass_above_nk - filters.top_p_n[:, None]) > 1e-9).all())
    head = support_of_head(logits[:, :size], filters, log_mass, np.array([BETWEEN]))
    np.testing.assert_array_equal(head.nominal_nk, whole.nominal_nk[:, :size])
    kept = kept_before_top_p(logits, filters)[:, :size]
    np.testing.assert_allclose(head.mass_above_nk[kept], whole.mass_above_nk[:, :size][kept], atol=1e-9)
    np.testing.assert_allclose(head.mass_above_min_nke[kept], whole.mass_above_min_nke[:, :size][kept], atol=1e-9)


def test_row_without_a_given_mass_takes_it_from_its_head() -> None:
    rows = [one_row([1.0, 0.0], top_p=0.9), one_row([1.0, 0.0], top_p=0.9)]
    given = np.array([np.nan, np.log(2 * (np.exp(1.0) + 1.0))])
    support = support_of_head(logits_of(rows), filters_of(rows), given, np.array([BETWEEN]))
    share = np.exp(1.0) / (np.exp(1.0) + 1.0)
    np.testing.assert_allclose(support.mass_above_nk, [[0, share], [0, share / 2]])


# Distance from the top-k and min-p cuts


@seeded
@given(rows=blocks())
def test_distance_is_measured_from_the_first_token_out_or_the_last_kept(rows: list[Row]) -> None:
    distance = logit_distance(logits_of(rows), logits_of(rows), filters_of(rows))
    expected = [[distance_from_cuts(row, x) for x in row.logits] for row in rows]
    np.testing.assert_allclose(distance, expected, atol=1e-9)


@seeded
@given(rows=blocks(), depth=st.integers(-10, 500))
def test_distance_of_any_value_is_measured_from_the_same_cuts(rows: list[Row], depth: int) -> None:
    values = [[row.logits[0] - depth * GRID] for row in rows]
    distance = logit_distance(np.array(values), logits_of(rows), filters_of(rows))
    expected = [[distance_from_cuts(row, x[0])] for row, x in zip(rows, values, strict=True)]
    np.testing.assert_allclose(distance, expected, atol=1e-9)


@seeded
@given(rows=blocks())
def test_sign_of_the_distance_is_membership(rows: list[Row]) -> None:
    kept = kept_before_top_p(logits_of(rows), filters_of(rows))
    distance = logit_distance(logits_of(rows), logits_of(rows), filters_of(rows))
    np.testing.assert_array_equal(distance >= 0, kept)
    np.testing.assert_array_equal(support_of(rows).logit_distance_nk, distance)


def test_width_of_the_gap_at_the_top_k_cut_counts_on_both_sides() -> None:
    row = one_row([5.0, 3.0, 2.5, 0.0], top_k=2)
    assert support_of([row]).logit_distance_nk.tolist() == [[2.5, 0.5, -0.5, -3.0]]


def test_token_tied_with_the_first_that_top_k_need_not_keep_has_distance_zero() -> None:
    # Which of the two an engine keeps is up to its sort, so neither is surely inside.
    row = one_row([5.0, 3.0, 3.0, 0.0], top_k=2)
    assert support_of([row]).logit_distance_nk.tolist() == [[2.0, 0.0, 0.0, -3.0]]


def test_nearer_of_the_two_cuts_decides_the_distance() -> None:
    row = one_row([5.0, 4.0, 1.0, 0.0], top_k=2, min_p_depth=1.25)
    np.testing.assert_allclose(support_of([row]).logit_distance_nk, [[1.25, 0.25, -3.0, -4.0]], atol=1e-12)


def test_without_top_k_and_min_p_every_token_is_infinitely_inside() -> None:
    row = one_row([5.0, 4.0, -90.0], top_p=0.5)
    assert support_of([row]).logit_distance_nk.tolist() == [[math.inf, math.inf, math.inf]]


@seeded
@given(rows=blocks(masked=True))
def test_masked_tokens_are_outside_every_cut_and_change_nothing_else(rows: list[Row]) -> None:
    assume(all(abs(mass_above(row, x) - row.top_p) > 1e-9 for row in rows for x in row.logits))
    support = support_of(rows)
    assert support.nominal_nk.tolist() == [[in_support(row, x) for x in row.logits] for row in rows]
    distances = [[distance_from_cuts(row, x) for x in row.logits] for row in rows]
    np.testing.assert_allclose(support.logit_distance_nk, distances, atol=1e-9)
    kept = kept_before_top_p(logits_of(rows), filters_of(rows))
    above = np.array([[mass_above(row, x) for x in row.logits] for row in rows])
    np.testing.assert_allclose(support.mass_above_nk[kept], above[kept], atol=1e-9)


# Counting


@seeded
@given(
    rows=st.lists(st.lists(st.integers(-500, 500), min_size=6, max_size=6), min_size=1, max_size=20),
    queries=st.lists(st.integers(-2000, 2000), min_size=20, max_size=20),
)
def test_counts_above_counts_the_values_that_exceed_each_threshold(rows: list[list[int]], queries: list[int]) -> None:
    values = -np.sort(-np.array(rows) * GRID, axis=1)
    # Two of every row's thresholds are values of it.
    thresholds = np.column_stack([np.array(queries[: len(rows)]) * GRID, values[:, 0], values[:, 3]])
    asked = list(zip(values, thresholds, strict=True))
    assert counts_above(values, thresholds).tolist() == [[sum(x > t for x in row) for t in ts] for row, ts in asked]
    assert counts_above(values, thresholds, inclusive=True).tolist() == [
        [sum(x >= t for x in row) for t in ts] for row, ts in asked
    ]


def test_counts_above_of_a_large_block_of_float32_logits_are_exact() -> None:
    rng = np.random.default_rng(6)
    values = -np.sort(-rng.normal(0, 8, (2_000, 64)).astype(np.float32).astype(np.float64), axis=1)
    above, at_least = (values[:, None, :] > values[:, :, None]), (values[:, None, :] >= values[:, :, None])
    np.testing.assert_array_equal(counts_above(values, values), above.sum(axis=2))
    np.testing.assert_array_equal(counts_above(values, values, inclusive=True), at_least.sum(axis=2))


def test_counts_above_leaves_out_masked_values_at_the_end_of_a_row() -> None:
    values = np.array([[2.0, 1.0, -np.inf], [0.0, -np.inf, -np.inf]])
    assert counts_above(values, np.array([[0.5], [-0.5]])).tolist() == [[2], [1]]


def test_counts_above_leaves_out_masked_values_below_every_finite_one() -> None:
    values = np.array([[2.0, 1.0, -np.inf], [0.0, -np.inf, -np.inf]])
    assert counts_above(values, np.array([[-9.0], [-9.0]])).tolist() == [[2], [1]]


# Supports wider than a head


def profile_of(row: Row, shuffle_seed: int = 0) -> MassProfile:
    logits = np.random.default_rng(shuffle_seed).permutation(np.array(row.logits, np.float32))
    return MassProfile(logits, min(cut(row)), row.temperature)


@seeded
@given(
    rows=blocks(),
    slack=st.integers(0, 200).map(lambda i: i * GRID + BETWEEN),
    shuffle_seed=st.integers(0, 99),
)
def test_mass_profile_agrees_with_a_head_of_the_whole_vocabulary(
    rows: list[Row], slack: float, shuffle_seed: int
) -> None:
    support = support_of(rows, (slack,))
    kept = kept_before_top_p(logits_of(rows), filters_of(rows))
    for at, row in enumerate(rows):
        profile = profile_of(row, shuffle_seed)
        logits = logits_of(rows)[at, kept[at]]
        own = profile.own(logits)
        np.testing.assert_allclose(profile.above(logits), support.mass_above_nk[at, kept[at]], atol=1e-6)
        np.testing.assert_allclose(
            profile.above(logits + slack), support.mass_above_min_nke[at, kept[at], 0], atol=1e-6
        )
        np.testing.assert_allclose(
            profile.at_or_above(logits - slack) - own, support.mass_above_max_nke[at, kept[at], 0], atol=1e-6
        )


@seeded
@given(row=single_rows(8))
def test_mass_profile_is_that_of_the_reference(row: Row) -> None:
    profile = profile_of(row)
    for x in cut(row):
        asked = np.array([x])
        assert profile.own(asked)[0] == pytest.approx(mass(row, [x]), abs=1e-6)
        assert profile.above(asked)[0] == pytest.approx(mass_above(row, x), abs=1e-6)
        expected = mass(row, [y for y in cut(row) if y >= x])
        assert profile.at_or_above(asked)[0] == pytest.approx(expected, abs=1e-6)


@seeded
@given(row=single_rows(8))
def test_mass_profile_ends_at_nothing_and_at_everything(row: Row) -> None:
    profile = profile_of(row)
    far = np.array([max(row.logits) + 1, min(cut(row)) - 1])
    assert profile.above(far).tolist() == [0.0, 1.0]
    assert profile.at_or_above(far).tolist() == [0.0, 1.0]


def test_mass_profile_shares_the_mass_of_ties_evenly() -> None:
    profile = MassProfile(np.array([0.0, 1.0, 0.0, 0.0], np.float32), -math.inf, 1.0)
    share = 1 / (3 + math.e)
    np.testing.assert_allclose(profile.own(np.array([0.0, 1.0])), [share, math.e * share], atol=1e-6)
