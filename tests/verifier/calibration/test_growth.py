from math import inf, log

import numpy as np
import pytest

from tests.verifier.candidates.positions import DELTA, Positions, like_recorded
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.calibration.growth import MULTIPLES, growth_per_token, traffic_growth
from weightwarden.verifier.calibration.honest_noise import NoiseCounts
from weightwarden.verifier.scoring.codes import classes
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, margin_bins
from weightwarden.verifier.scoring.token_scores import TokenScores

EDGES = np.array(MARGIN_EDGES)
OUTLIER_MARGIN = 0.3
HONEST = np.array([0.18, 0.4, 0.38, 0.33, 0.25, 0.17, 0.1, 0.07, 0.04, 0.02, 0.008, 0.001, 5e-4, 2e-4, 0.0])
"""Chances of an alternative by class: the boundary, the bins, and no candidate."""
LENGTH = 100


def honest_choices(rng: np.random.Generator, positions: Positions) -> TokenScores:
    """What an honest server takes: each alternative with its chance, else the choice."""
    class_nk = np.where(positions.margin_nk == 0, 0, margin_bins(positions.margin_nk, EDGES) + 1)
    chances = np.where(np.isnan(positions.margin_nk), 0.0, HONEST[class_nk])[:, 1:]
    reach = np.cumsum(chances, axis=1)
    assert reach.max() < 1
    drawn = rng.random((len(reach), 1))
    inside = (drawn < reach).any(axis=1)
    return positions.take(np.where(inside, 1 + (drawn >= reach).sum(axis=1), 0))


def traffic(rng: np.random.Generator, records: int) -> tuple[TokenScores, NoiseCounts]:
    """Honest positions of some records, and their counts."""
    scores = honest_choices(rng, like_recorded(rng, records * LENGTH))
    record_n = np.repeat(np.arange(records), LENGTH)
    return scores, NoiseCounts.of([(record_n, scores)], np.ones(records, np.bool_))


def factors(offered_nc: IntArray, upper_c: FloatArray, class_n: IntArray) -> FloatArray:
    """The factor of each position by the formula, where class -1 is the choice; its t found by bisection."""
    low, high = np.zeros(len(offered_nc)), np.ones(len(offered_nc))
    for _ in range(60):
        middle = (low + high) / 2
        total = (offered_nc * np.minimum(upper_c, middle[:, None])).sum(axis=1) + middle
        low, high = np.where(total < 1, middle, low), np.where(total < 1, high, middle)
    ratio_nc = low[:, None] / np.minimum(upper_c, low[:, None])
    fair = 1 + (offered_nc * upper_c * (ratio_nc - 1)).sum(axis=1)
    own = np.where(class_n >= 0, ratio_nc[np.arange(len(low)), class_n], 1.0)
    found: FloatArray = own / fair
    return found


@pytest.mark.parametrize("upper", [(0.25, 0.45, 0.3, 0.1), (1.0, 0.5, 0.5, 0.5), (0.01, 0.02, 0.02, 0.01)])
def test_growth_is_the_mean_logarithm_of_a_factor_that_is_fair_for_honest_servers(upper: tuple[float, ...]) -> None:
    rng = np.random.default_rng(1)
    offered, upper_c = rng.integers(0, 3, (3000, 4)), np.array(upper)
    offered[::3] = 0
    row, column = np.nonzero(offered)
    position: IntArray = np.append(np.arange(3000), np.repeat(row, offered[row, column]))
    kind: IntArray = np.append(np.full(3000, -1), np.repeat(column, offered[row, column]))
    found = factors(offered[position], upper_c, kind)
    uniform = 1 / (1 + offered.sum(axis=1))[position]
    assert growth_per_token(offered, upper_c) == pytest.approx((uniform * np.log(found)).sum() / 3000, rel=1e-9)
    # No honest server: each alternative at its bound, at half of it, or at none, as far as there is room.
    for share in (1.0, 0.5, 0.0):
        chance = share * np.where(kind >= 0, upper_c[kind], 0.0)
        room = np.bincount(position, chance, 3000)
        chance /= np.maximum(room, 1)[position]
        chance[:3000] = 1 - np.minimum(room, 1)
        assert np.bincount(position, chance * found, 3000).max() <= 1 + 1e-9


def test_growth_with_known_odds_is_the_relative_entropy() -> None:
    binary = growth_per_token(np.array([[1], [0]]), np.array([0.1]))
    assert binary == pytest.approx((0.5 * log(0.5 / 0.1) + 0.5 * log(0.5 / 0.9)) / 2)
    assert growth_per_token(np.array([[1], [0]]), np.array([0.5])) == pytest.approx(0)
    assert growth_per_token(np.array([[3], [2]]), np.array([1.0])) == pytest.approx(0)  # nothing is known
    assert growth_per_token(np.zeros((5, 2), np.int64), np.array([0.1, 0.1])) == 0


def test_more_traffic_gives_the_growth_that_was_predicted() -> None:
    rng, runs, amounts = np.random.default_rng(2), 12, MULTIPLES[:-1]
    predicted, real = np.zeros((runs, len(MULTIPLES))), np.zeros((runs, len(amounts)))
    for run in range(runs):
        scores, counts = traffic(rng, 60)
        found = traffic_growth([scores], counts, counts.noise(OUTLIER_MARGIN), DELTA)
        assert [one.multiple for one in found] == [*amounts, inf]
        assert [one.honest_tokens for one in found] == [60 * LENGTH * times for times in MULTIPLES]
        predicted[run] = [one.nats_per_token for one in found]
        for column, times in enumerate(amounts):
            more, more_counts = traffic(rng, int(60 * times))
            real[run, column] = traffic_growth([more], more_counts, more_counts.noise(OUTLIER_MARGIN), DELTA)[
                0
            ].nats_per_token
    mean = predicted.mean(axis=0)
    assert (np.diff(mean) > 0).all()
    assert mean[:-1] == pytest.approx(real.mean(axis=0), rel=0.2)
    inside = int(np.searchsorted(EDGES, DELTA, side="right"))
    offered = classes(EDGES, scores)[1][:, :inside].astype(np.int64)
    assert mean[-1] == pytest.approx(growth_per_token(offered, HONEST[:inside]), rel=0.2)
    assert found[-1].tokens_to_alarm == pytest.approx(log(1e4) / found[-1].nats_per_token)


def test_traffic_without_alternatives_gives_no_growth() -> None:
    nowhere = Positions(np.column_stack([np.zeros(200), np.full((200, 3), np.nan)]), np.zeros(200, np.int64))
    scores = nowhere.take(np.zeros(200, np.int64))
    counts = NoiseCounts.of([(np.repeat(np.arange(10), 20), scores)], np.ones(10, np.bool_))
    for one in traffic_growth([scores], counts, counts.noise(), DELTA):
        assert (one.nats_per_token, one.tokens_to_alarm) == (0, inf)
    assert counts.noise().upper_c[0] == 1.0
