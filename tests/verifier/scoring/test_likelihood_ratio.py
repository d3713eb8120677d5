"""Bets on the claimed tokens: an e-value under every honest server that the bounds allow, and growth under attack."""

import numpy as np
import pytest

from tests.verifier.scoring.test_record_evidence import EDGES, Traffic
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.candidates.table import Standing
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.likelihood_ratio import (
    ADMISSIBLE_SHARES,
    LARGEST,
    OUTSIDE_BETS,
    RESOLUTION,
    TILTS,
    LikelihoodRatioAccumulator,
    LikelihoodRatioBets,
)
from weightwarden.verifier.scoring.record_sums import compress_plain_positions
from weightwarden.verifier.scoring.run_evidence import TESTS, conditional_bound
from weightwarden.verifier.scoring.token_scores import TokenScores

UPPER = np.array([0.5, 0.5, 0.485, 0.434, 0.263, 0.263, 0.153, 0.0954, 0.053, 0.0283, 0.00747, 0.00343, 0.00111])
"""Bounds of the embedded model's traffic."""
OUTSIDE = 9e-4
CONTAMINATION = 2.5e-3


def bets(boundary: float = 1.0, upper_b: FloatArray = UPPER, *, exact: bool = False) -> LikelihoodRatioBets:
    return LikelihoodRatioBets(
        edges_b=EDGES,
        upper_c=np.append(boundary, upper_b),
        admissible_margin=0.1,
        outside_margin=1.0,
        outside_upper=OUTSIDE,
        exact=exact,
    )


def claimed(margin_n: FloatArray, rival_nk: FloatArray, standing: Standing = Standing.HELD) -> TokenScores:
    """Scores of tokens among these rivals; nan stands for the replay's own choice."""
    exact_n = np.isnan(margin_n)
    nothing = np.ones(len(margin_n), np.int64)
    return TokenScores(
        margin_n=np.where(exact_n, 0.0, margin_n),
        exact_n=exact_n,
        logit_rank_n=nothing,
        gumbel_rank_n=nothing,
        admissible_n=nothing,
        rival_margin_nk=rival_nk,
        unseen_n=0 * nothing,
        unseen_margin_nu=np.empty((len(margin_n), 0)),
        contradicted_n=np.zeros(len(margin_n), np.bool_),
        standing_n=np.full(len(margin_n), standing, np.int8),
    )


def all_claims(margins: FloatArray, standing: Standing = Standing.HELD) -> TokenScores:
    """Scores of every claim at one position: each alternative, one outside, and last the choice."""
    count = len(margins)
    rivals = np.full((count + 2, count + 1), np.nan)
    rivals[:, :count] = margins
    rivals[:-1, count] = 0.0  # the choice is a rival of every other claim
    rivals[np.arange(count), np.arange(count)] = np.nan
    return claimed(np.concatenate([margins, [np.inf, np.nan]]), rivals, standing)


@pytest.mark.parametrize("boundary", [1.0, 0.25])
def test_every_bet_is_an_e_value_under_every_honest_server(boundary: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(400):
        upper_b = np.sort(rng.uniform(1e-4, 0.5, len(UPPER)))[::-1] if rng.random() < 0.5 else UPPER
        these = bets(boundary, upper_b)
        margins = np.where(
            rng.random(n := int(rng.integers(0, 8))) < 0.2, 0.0, rng.uniform(0, 1, n) ** rng.choice([1, 3])
        )
        factor_vk = np.exp(these.log_factors(all_claims(margins)))
        bins = np.searchsorted(EDGES, margins, side="left")  # 0 is the boundary
        upper_v = np.append(these.upper_c[bins], OUTSIDE)
        for _ in range(4):
            honest_v = upper_v * rng.choice([0.0, 1.0, rng.random()], len(upper_v))
            honest_v = honest_v / max(1.0, honest_v.sum())
            expectation_k = np.append(honest_v, 1 - honest_v.sum()) @ factor_vk
            assert (expectation_k <= 1 + 1e-9).all()


def test_positions_where_every_token_is_known_only_when_claimed_have_no_bet_on_them() -> None:
    margins, these = np.array([0.05, 0.09]), bets()
    alone = these.log_factors(claimed(np.array([np.nan]), np.full((1, 1), np.nan)))
    only = claimed(margins, np.zeros((2, 1)), Standing.CLAIMED)  # the only alternative is the claimed one
    assert these.log_factors(only) == pytest.approx(np.repeat(alone, 2, axis=0))


def attacked(rng: np.random.Generator, share: float, records: int = 30, length: int = 200) -> TokenScores:
    """Traffic of a server that takes admissible tokens uniformly at a share of the positions, else is honest."""
    traffic = Traffic(rng, records, length, density=0.15).emit(rng, UPPER * 0.8, 0.0)
    inside_nk = (traffic.rival_nk > 0) & (traffic.rival_nk <= 0.1)
    coded = (rng.random(len(inside_nk)) < share) & inside_nk.any(axis=1) & (traffic.margin_n == 0)
    pick = rng.integers(0, inside_nk.sum(axis=1) + 1)
    column = np.argmax(np.cumsum(inside_nk, axis=1) == pick[:, None], axis=1)
    traffic.take(coded & (pick > 0), column)
    return traffic.scores()


@pytest.mark.parametrize("share", [1.0, 0.3, 0.1])
def test_uniform_admissible_tokens_make_the_bets_grow(share: float) -> None:
    rng = np.random.default_rng(2)
    attack, honest = (bets().log_factors(attacked(rng, s)).mean(axis=0) for s in (share, 0.0))
    best = int(np.argmax(attack[: len(ADMISSIBLE_SHARES)]))
    assert attack[best] > 0 > honest[best]
    assert abs(best - list(ADMISSIBLE_SHARES).index(share)) <= 1


@pytest.mark.parametrize(("thefts", "tokens"), [(100, 1), (40, 12), (40, 64), (40, 200), (4, 1)])
def test_lone_tokens_outside_in_many_records_alarm_the_run(thefts: int, tokens: int) -> None:
    """None of these records is flagged."""
    outside, plain = bets().log_factors(claimed(np.array([np.inf, np.nan]), np.array([[0.0], [np.nan]])))
    log_ratio_rk = np.tile(outside + (tokens - 1) * plain, (thefts, 1))
    assert TESTS * conditional_bound(log_ratio_rk, CONTAMINATION) <= RUN_ALARM_LEVEL
    assert conditional_bound(np.tile(tokens * plain, (thefts, 1)), CONTAMINATION) == 1.0


@pytest.mark.parametrize("share", [0.2, 0.1, 0.03, 0.01, 0.004, 0.002])
def test_the_bet_on_a_share_of_tokens_outside_grows_nearly_as_fast_as_can_be(share: float) -> None:
    """A likelihood ratio grows by kl(share, bound) nats a token."""
    rng = np.random.default_rng(3)
    outside_n = rng.random(400_000) < share
    scores = claimed(np.where(outside_n, np.inf, np.nan), np.where(outside_n, 0.0, np.nan)[:, None])
    growth = float(bets().log_factors(scores).mean(axis=0)[-OUTSIDE_BETS:].max())
    optimum = share * np.log(share / OUTSIDE) + (1 - share) * np.log((1 - share) / (1 - OUTSIDE))
    assert 0.85 * optimum < growth < 1.1 * optimum


def test_an_exact_policy_bets_on_mismatches_only() -> None:
    these = bets(exact=True)
    assert len(these) == OUTSIDE_BETS
    factor_vk = these.log_factors(all_claims(np.array([0.05, 0.2])))
    assert (factor_vk[2] > 0).all()  # outside
    assert (factor_vk[[0, 1, 3]] < 0).all()
    assert (factor_vk[0] == factor_vk[3]).all()


def test_sums_of_records_do_not_depend_on_how_positions_are_split_and_are_rounded_down() -> None:
    rng = np.random.default_rng(4)
    scores = attacked(rng, 0.3, records=5, length=100)
    record_n = np.repeat(np.arange(5), 100)
    whole, split, compressed = (LikelihoodRatioAccumulator(bets(), 6) for _ in range(3))
    whole.add(record_n, scores)
    for part in np.array_split(np.arange(500), 7):
        split.add(record_n[part], scores.take(part))
    which, times = compress_plain_positions(record_n, scores)
    compressed.add(record_n[which], scores.take(which), times)
    true_rk = np.add.reduceat(bets().log_factors(scores), np.arange(0, 500, 100), axis=0)
    found_rk = whole.log_ratio_rk
    assert (found_rk == split.log_ratio_rk).all()
    assert (found_rk == compressed.log_ratio_rk).all()
    assert (found_rk[:5] <= true_rk + 1e-6).all()
    assert (found_rk[:5] > true_rk - 1.01 * RESOLUTION).all()
    assert (found_rk[5] == 0).all()
    assert (found_rk == found_rk.astype(np.float32)).all()
    assert len(ADMISSIBLE_SHARES) + len(TILTS) + OUTSIDE_BETS == found_rk.shape[1]


def test_an_endless_record_of_outliers_stays_finite() -> None:
    accumulator = LikelihoodRatioAccumulator(bets(), 1)
    scores = claimed(np.full(1, np.inf), np.zeros((1, 1)))
    accumulator.add(np.zeros(1, np.int64), scores, np.array([10**6]))
    assert (accumulator.log_ratio_rk[0, -OUTSIDE_BETS:] == LARGEST).all()


def test_positions_decided_by_rounding_errors_never_count_against_the_server() -> None:
    scores = all_claims(np.array([0.05, 0.09]))
    record_n = np.arange(len(scores))
    kept, spared = (LikelihoodRatioAccumulator(bets(), len(scores)) for _ in range(2))
    kept.add(record_n, scores)
    spared.add(record_n, scores, None, np.ones(len(scores), np.bool_))
    assert (spared.log_ratio_rk == np.minimum(kept.log_ratio_rk, 0.0)).all()
    assert (kept.log_ratio_rk > 0).any()
