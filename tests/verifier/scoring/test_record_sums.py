import numpy as np
import pytest

from tests.verifier.candidates.positions import like_recorded
from weightwarden.verifier.scoring.record_sums import GRID, compress_plain_positions, scatter_add


@pytest.mark.parametrize("ordered", [True, False])
def test_sums_by_record_equal_those_added_one_by_one(ordered: bool) -> None:
    rng = np.random.default_rng(1)
    record_n = rng.integers(0, 7, 500)
    record_n = np.sort(record_n) if ordered else record_n
    values, times = rng.normal(size=(500, 3)), rng.integers(1, 5, 500)
    total, expected = np.ones((7, 3)), np.ones((7, 3))
    scatter_add(total, record_n, values, times)
    for record, value, count in zip(record_n, values, times, strict=True):
        expected[record] += count * value
    np.testing.assert_allclose(total, expected, atol=500 * 5 / GRID)


def test_sums_are_the_same_in_whatever_portions_positions_come() -> None:
    rng = np.random.default_rng(3)
    record_n, values = np.sort(rng.integers(0, 5, 1000)), rng.exponential(size=1000) * 15
    whole, portions, often = np.zeros(5), np.zeros(5), np.zeros(5)
    scatter_add(whole, record_n, values)
    for some in np.array_split(rng.permutation(1000), 37):
        scatter_add(portions, record_n[some], values[some])
    assert whole.tolist() == portions.tolist()
    scatter_add(often, np.array([0]), np.array([values[0]]), np.array([128]))
    scatter_add(often, np.array([1, 1]), np.array([values[0], values[0]]), np.array([100, 28]))
    assert often[0] == often[1]


def test_truth_values_are_counted() -> None:
    total = np.zeros(2, np.int64)
    scatter_add(total, np.array([0, 0, 0, 1]), np.array([True, True, False, True]))
    assert total.tolist() == [2, 1]


def test_nothing_added_changes_nothing() -> None:
    total = np.zeros(2)
    scatter_add(total, np.empty(0, np.int64), np.empty(0))
    assert not total.any()


def test_representatives_stand_for_every_position_of_their_record_once() -> None:
    rng = np.random.default_rng(2)
    scores = like_recorded(rng, 400).take((rng.random(400) < 0.05).astype(np.int64))
    record_n = np.sort(rng.integers(0, 9, 400))
    which, times = compress_plain_positions(record_n, scores)
    assert len(which) < 300
    counted = np.zeros(9, np.int64)
    np.add.at(counted, record_n[which], times)
    np.testing.assert_array_equal(counted, np.bincount(record_n, minlength=9))
    repeated = times > 1
    assert scores.exact_n[which][repeated].all()
    assert np.isnan(scores.rival_margin_nk[which][repeated]).all()
    untouched = np.setdiff1d(np.arange(400), which)
    assert np.isnan(scores.rival_margin_nk[untouched]).all()
    assert (scores.margin_n[untouched] == 0).all()
