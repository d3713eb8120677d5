import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.candidates.layout import at_levels
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.scoring.token_scores import (
    TokenScores,
    Tolerance,
    gumbel_likelihood_score,
    inverse_transform_likelihood_score,
    score,
)
from weightwarden.verifier.scoring.token_verdicts import Verdict, judge_tokens

V = 1024


def table_of(
    scores: list[list[float]],
    distance: list[list[float]],
    mass: list[list[float]] | None = None,
    *,
    error: list[list[float]] | None = None,
    top_p: float = 1.0,
    filter_temperature: float = 1.0,
) -> CandidateTable:
    """A table of one slack level; `mass` is the mass above each candidate, at best and at worst,
    and `error` what the engine's score may be off by."""
    n, k = len(scores), len(scores[0])
    errors = np.zeros((n, k)) if error is None else np.array(error)
    masses = np.zeros((n, k)) if mass is None else np.array(mass)
    return CandidateTable(
        ids_nk=np.tile(np.arange(k), (n, 1)),
        slope_nk=np.ones((n, k)),
        scores_nk=np.array(scores),
        score_min_nke=at_levels(np.array(scores) - errors, 1),
        score_max_nke=at_levels(np.array(scores) + errors, 1),
        logit_distance_nk=np.array(distance),
        mass_above_min_nke=masses[:, :, None],
        mass_above_max_nke=masses[:, :, None],
        top_p_n=np.full(n, top_p),
        mass_scale_n=np.full(n, 1 / filter_temperature),
        steepest_n=np.ones(n),
        exact_n=np.arange(n) % 2 == 0,
        logit_rank_n=np.arange(1, n + 1),
        gumbel_rank_n=np.arange(n, 0, -1),
        cdf_low_n=np.full(n, np.nan),
        cdf_high_n=np.full(n, np.nan),
        unseen_scores_nu=np.empty((n, 0)),
        contradicted_n=np.zeros(n, np.bool_),
        standing_n=np.zeros(n, np.int8),
        open_n=np.zeros(n, np.bool_),
    )


def tolerance(margin: float, logit_slack: float = 0.3, mass_slack: float = 0.0) -> Tolerance:
    return Tolerance(margin=margin, logit_slack=logit_slack, mass_slack=mass_slack)


# Margins


def test_margin_is_measured_from_the_best_sure_candidate_and_is_never_negative() -> None:
    inside = [9.0, 9.0, 9.0]
    table = table_of([[1.0, 1.5, 0.5], [2.0, 1.5, 0.5]], [inside, inside])
    found = score(table, tolerance(0.6), 0)
    assert found.margin_n.tolist() == [0.5, 0.0]
    assert found.rival_margin_nk.tolist() == [[0.0, 1.0], [0.5, 1.5]]
    assert found.admissible_n.tolist() == [2, 2]


def test_candidate_within_the_slack_of_a_cut_is_possible_and_sets_no_margin() -> None:
    table = table_of([[1.0, 5.0, 1.2, 7.0]], [[9.0, 0.29, 0.3, -0.3]])
    found = score(table, tolerance(0.1), 0)
    assert found.margin_n == pytest.approx([0.2])
    assert found.rival_margin_nk[0, :2].tolist() == [0.0, 0.0]
    assert np.isnan(found.rival_margin_nk[0, 2])
    assert found.admissible_n.tolist() == [2]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_mass_slack_at_the_top_p_cut_shrinks_with_the_filters_temperature(temperature: float) -> None:
    slack = 0.02 / temperature
    mass = [[0.0, 0.9 - 1.01 * slack, 0.9 - 0.99 * slack, 0.9 + 0.99 * slack, 0.9 + 1.01 * slack]]
    table = table_of([[0.0, 1.0, 2.0, 2.5, 3.0]], [[np.inf] * 5], mass, top_p=0.9, filter_temperature=temperature)
    found = score(table, tolerance(10.0, mass_slack=0.02), 0)
    assert found.margin_n.tolist() == [1.0]  # the second is the last sure one
    assert found.admissible_n.tolist() == [4]  # and the last is not even possible


def test_claimed_token_outside_the_support_has_infinite_margin_and_one_admissible_choice_at_least() -> None:
    table = table_of([[5.0, 1.0], [5.0, -np.inf]], [[-9.0, 9.0], [-9.0, -np.inf]])
    found = score(table, tolerance(0.1), 0)
    assert found.margin_n.tolist() == [np.inf, np.inf]
    assert found.admissible_n.tolist() == [1, 1]


def test_with_no_sure_candidate_all_possible_ones_have_margin_zero() -> None:
    table = table_of([[1.0, 9.0, -4.0, 3.0]], [[0.1, -0.1, 0.2, -5.0]])
    found = score(table, tolerance(0.0), 0)
    assert found.margin_n.tolist() == [0.0]
    assert found.rival_margin_nk[0, :2].tolist() == [0.0, 0.0]
    assert np.isnan(found.rival_margin_nk[0, 2])
    assert found.admissible_n.tolist() == [3]


def test_unused_columns_are_no_rivals() -> None:
    table = table_of([[1.0, -np.inf]], [[9.0, -np.inf]])
    found = score(table, tolerance(100.0), 0)
    assert np.isnan(found.rival_margin_nk).all()
    assert found.admissible_n.tolist() == [1]


def test_chosen_takes_the_same_positions_of_every_array() -> None:
    scores = score(table_of([[float(i), 2.0] for i in range(4)], [[9.0, 9.0]] * 4), tolerance(0.5), 0)
    some = scores.take(np.array([True, False, False, True]))
    assert len(some) == 2
    assert some.margin_n.tolist() == [2.0, 0.0]
    assert some.exact_n.tolist() == [True, False]
    assert some.logit_rank_n.tolist() == [1, 4]
    assert some.gumbel_rank_n.tolist() == [4, 1]
    assert some.admissible_n.tolist() == [1, 1]
    assert some.rival_margin_nk.tolist() == [[0.0], [1.0]]


# GM-LS


@pytest.mark.parametrize("scale", [0.01, 0.05, 2.0])
def test_gumbel_likelihood_score_is_the_log_probability_of_a_swap(scale: float) -> None:
    margins = scale * np.linspace(0, 8, 50)
    assert gumbel_likelihood_score(margins, scale) == pytest.approx(norm.logcdf(-margins, scale=scale * math.sqrt(2)))
    assert gumbel_likelihood_score(np.zeros(1), scale)[0] == pytest.approx(math.log(0.5))


def test_gumbel_likelihood_score_orders_tokens_as_the_margin_does() -> None:
    margins = np.sort(np.random.default_rng(1).exponential(1.0, 300))  # up to some hundred noise scales
    assert margins[-1] / 0.02 > 250
    values = gumbel_likelihood_score(np.append(margins, np.inf), 0.02)
    assert (np.diff(values) < 0).all()
    assert np.isfinite(values[:-1]).all()
    assert values[-1] == -np.inf


# IPT-LS


def test_inverse_transform_likelihood_score_is_the_log_integral_of_the_noise_over_the_interval() -> None:
    rng = np.random.default_rng(2)
    scale = 0.01
    low = rng.uniform(-0.03, 0.03, 60)
    high = low + rng.uniform(1e-4, 0.03, 60)
    values = inverse_transform_likelihood_score(low, high, scale)
    assert (low > 0).any()
    assert (high < 0).any()
    assert ((low < 0) & (high > 0)).any()
    for i in range(60):
        integral, _ = quad(norm(scale=scale).pdf, low[i], high[i], epsabs=0.0, epsrel=1e-10)
        assert values[i] == pytest.approx(math.log(integral), abs=1e-7)


def test_inverse_transform_likelihood_score_keeps_its_precision_far_from_u() -> None:
    scale = 1e-3
    distance = np.arange(1.0, 36.0)
    values = inverse_transform_likelihood_score(scale * distance, scale * (distance + 1), scale)
    tail, beyond = norm.logsf(distance), norm.logsf(distance + 1)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()
    assert values == pytest.approx(tail + np.log1p(-np.exp(beyond - tail)), rel=1e-9)


def test_inverse_transform_likelihood_score_is_the_same_on_both_sides_of_u() -> None:
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 0.03, 50)
    high = low + 0.002
    above = inverse_transform_likelihood_score(low, high, 1e-3)
    assert np.isfinite(above).all()
    assert inverse_transform_likelihood_score(-high, -low, 1e-3) == pytest.approx(above, rel=1e-12)


def test_interval_wide_around_u_scores_near_zero_and_never_above() -> None:
    values = inverse_transform_likelihood_score(np.array([-0.4, -0.005, -0.01]), np.array([0.6, 0.5, 0.01]), 1e-3)
    assert (values <= 0).all()
    assert values == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)


def test_token_without_an_interval_scores_minus_infinity() -> None:
    values = inverse_transform_likelihood_score(np.array([np.inf, 0.2]), np.array([np.inf, 0.2]), 1e-3)
    assert values.tolist() == [-np.inf, -np.inf]


# Verdicts


def scored(margin: float, rank: int, admissible: int) -> TokenScores:
    one: FloatArray = np.array([margin])
    return TokenScores(
        margin_n=one,
        exact_n=one == 0,
        logit_rank_n=np.array([rank]),
        gumbel_rank_n=np.array([1]),
        admissible_n=np.array([admissible]),
        rival_margin_nk=np.full((1, 1), np.nan),
        unseen_n=np.zeros(1, np.int64),
        unseen_margin_nu=np.empty((1, 0)),
        contradicted_n=np.zeros(1, np.bool_),
        standing_n=np.zeros(1, np.int8),
    )


@pytest.mark.parametrize(
    ("margin", "rank", "admissible", "verdict", "bits"),
    [
        (0.0, 1, 1, Verdict.SAFE, 0.0),
        (0.0, 900, 4, Verdict.SAFE, 2.0),
        (0.15, 1, 2, Verdict.SAFE, 1.0),
        (0.15, 33, 3, Verdict.SAFE, math.log2(3)),
        (math.nextafter(0.15, 1.0), 1, 2, Verdict.SUSPICIOUS, 5.0),
        (0.2, 32, 1, Verdict.SUSPICIOUS, 5.0),
        (0.2, 33, 1, Verdict.DANGEROUS, 10.0),
        (math.inf, 32, 8, Verdict.SUSPICIOUS, 5.0),
        (math.inf, 33, 8, Verdict.DANGEROUS, 10.0),
    ],
)
def test_verdict_and_charge_of_a_token_at_delta_15_hundredths_rank_limit_32_and_1024_tokens(
    margin: float, rank: int, admissible: int, verdict: Verdict, bits: float
) -> None:
    judged = judge_tokens(scored(margin, rank, admissible), margin=0.15, rank_limit=32, vocabulary=V)
    assert judged.verdict_n.tolist() == [verdict]
    assert judged.verdict_n.dtype == np.int8
    assert judged.charged_bits_n == pytest.approx([bits])


def test_verdicts_are_ordered_from_harmless_to_not() -> None:
    assert Verdict.SAFE < Verdict.SUSPICIOUS < Verdict.DANGEROUS


def test_no_positions_have_no_verdicts() -> None:
    nobody = scored(0.0, 1, 1).take(np.array([False]))
    judged = judge_tokens(nobody, margin=0.15, rank_limit=32, vocabulary=V)
    assert len(judged.verdict_n) == len(judged.charged_bits_n) == 0
