from dataclasses import replace
from math import comb, log2

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.places import BUNDLED_POLICY
from tests.verifier.candidates.positions import DELTA, like_recorded
from tests.verifier.candidates.test_gumbel import SETTINGS, V, draws
from tests.verifier.logits.test_partial_rows import known_of
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.inverse_cdf import inverse_cdf_candidates
from weightwarden.verifier.logits.partial_rows import CandidateRows
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.codes import CountingCode, OutsideCode, PooledCode
from weightwarden.verifier.scoring.token_scores import TokenScores, score
from weightwarden.verifier.scoring.token_verdicts import judge_tokens
from weightwarden.verifier.statistics.bandwidth import combinatorial_bound


def bundled_policy() -> Policy:
    found = read_policy(BUNDLED_POLICY)
    assert isinstance(found, Policy)
    return found


POLICY = bundled_policy()
VOCABULARY = 49_152
OUTSIDE = POLICY.code.outliers_near + POLICY.code.outliers_far
"""What the pooled code leaves to tokens outside of it."""
ESCAPE = OutsideCode(near=1e-4, far=1e-4, open=1e-3, against=1e-3, rank_limit=64, vocabulary=V)
EXACT_EDGES = np.array([0.0, EXACT_TOLERANCE.margin])


def every_token(scheme: str, setting: tuple[float, int, float, float], seed: int, *, exact: bool) -> TokenScores:
    """Scores [V] of one position, once for every token that a server could have claimed there."""
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=V) * 3).astype(np.float32)
    logits[:8] = np.round(logits[:8])  # exact ties
    some, _ = draws(scheme, setting, np.arange(V), seed)
    assert some.keys_n is not None
    some = replace(some, keys_n=np.repeat(some.keys_n[:1], V, axis=0))
    rows = TorchRows(torch.from_numpy(np.tile(logits, (V, 1))))
    window, tolerance = (EXACT_WINDOW, EXACT_TOLERANCE) if exact else (POLICY.window, POLICY.tolerance)
    return score(gumbel_candidates(rows, some, window), tolerance, 0)


@pytest.mark.parametrize("scheme", ["vllm-cpu", "vllm-v2"])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("exact", [False, True])
def test_lengths_of_all_tokens_of_a_position_obey_kraft(
    scheme: str, setting: tuple[float, int, float, float], seed: int, exact: bool
) -> None:
    scores = every_token(scheme, setting, seed, exact=exact)
    counting, pooled = codes(exact=True) if exact else (POLICY.counting_code(V), POLICY.pooled_code(V))
    totals = np.array([(2.0 ** -code.lengths(scores)).sum() for code in (counting, pooled)])
    assert (totals <= 1 + 1e-9).all()
    assert (totals > 0.99).all()  # nor is any token charged more than it has to be


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("setting", [SETTINGS["unfiltered"], SETTINGS["top-k"], SETTINGS["top-p beyond the head"]])
def test_kraft_holds_for_inverse_cdf_whose_rivals_are_kept_up_to_a_quarter_logit(
    setting: tuple[float, int, float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=V) * 2).astype(np.float32)
    some, _ = draws("vllm-cpu", setting, np.arange(V), seed)
    some = replace(some, noise=None, keys_n=None, uniforms_n=np.full(V, rng.random()))
    rows = TorchRows(torch.from_numpy(np.tile(logits, (V, 1))))
    scores = score(inverse_cdf_candidates(rows, some, POLICY.window), POLICY.tolerance, 0)
    made_for = POLICY.made_for.model_copy(update={"scheme": "inverse-cdf"})
    pooled = POLICY.code.pooled_code(POLICY.thresholds, made_for, V)
    counting = POLICY.code.counting_code(POLICY.thresholds, made_for, V)
    assert (2.0 ** -pooled.lengths(scores)).sum() <= 1 + 1e-9
    assert (2.0 ** -counting.lengths(scores)).sum() <= 1 + 1e-9


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("top", [4, 8, 40])
@pytest.mark.parametrize("seed", range(4))
def test_kraft_holds_where_a_server_tells_a_few_logits_and_the_claimed_one(seed: int, top: int, exact: bool) -> None:
    # The claim itself makes a logit known: a token that nobody else would have been compared with must not be free.
    rng = np.random.default_rng(seed)
    logits = np.tile((rng.normal(size=V) * 2).astype(np.float32), (V, 1))
    some, _ = draws("vllm-cpu", (2.0, V, 1.0, 0.0), np.arange(V), seed)
    assert some.keys_n is not None
    some = replace(some, keys_n=np.repeat(some.keys_n[:1], V, axis=0))
    rows = CandidateRows(known_of(logits, np.arange(V), top), V)
    window, tolerance = (EXACT_WINDOW, EXACT_TOLERANCE) if exact else (POLICY.window, POLICY.tolerance)
    scores = score(gumbel_candidates(rows, some, window), tolerance, 0)
    counting, pooled = codes(exact=exact)
    assert (2.0 ** -counting.lengths(scores)).sum() <= 1 + 1e-9
    assert (2.0 ** -pooled.lengths(scores)).sum() <= 1 + 1e-9


def test_kraft_holds_where_all_logits_but_one_tie() -> None:
    logits = np.full(V, -5.0, np.float32)
    logits[7] = 20
    some, _ = draws("vllm-cpu", SETTINGS["unfiltered"], np.arange(V), 1)
    assert some.keys_n is not None
    some = replace(some, keys_n=np.repeat(some.keys_n[:1], V, axis=0))
    rows = TorchRows(torch.from_numpy(np.tile(logits, (V, 1))))
    scores = score(gumbel_candidates(rows, some, POLICY.window), POLICY.tolerance, 0)
    for lengths in (POLICY.counting_code(V).lengths(scores), POLICY.pooled_code(V).lengths(scores)):
        assert (2.0**-lengths).sum() <= 1 + 1e-9


def codes(*, exact: bool) -> tuple[CountingCode, PooledCode]:
    """Codes of a replay that a server makes."""
    if exact:
        counting = CountingCode(margin=EXACT_TOLERANCE.margin, escape=ESCAPE)
        return counting, PooledCode(edges_b=EXACT_EDGES, log_odds_c=np.zeros(2), escape=ESCAPE)
    made_for = POLICY.made_for.model_copy(update={"replay": "vllm"})
    counting = POLICY.code.counting_code(POLICY.thresholds, made_for, V)
    return counting, POLICY.code.pooled_code(POLICY.thresholds, made_for, V)


def charged_by_verdict(scores: TokenScores) -> FloatArray:
    return judge_tokens(scores, DELTA, 64, VOCABULARY).charged_bits_n


def test_the_verdicts_charge_alone_is_beaten_by_where_the_altered_tokens_are() -> None:
    # 20 of 2,000 tokens become one of the 64 most likely: a choice among C(2000, 20) * 62^20 messages.
    rng = np.random.default_rng(1)
    positions = replace(like_recorded(rng, 2000), margin_nk=np.zeros((2000, 1)))
    message = log2(comb(2000, 20)) + 20 * log2(62)
    choice = np.zeros(2000, np.int64)
    choice[rng.choice(2000, 20, replace=False)] = rng.integers(2, 64, 20)
    scores = positions.take(choice)
    assert charged_by_verdict(scores).sum() < 0.5 * message  # the attack
    assert POLICY.counting_code(VOCABULARY).lengths(scores).sum() > message
    assert POLICY.pooled_code(VOCABULARY).lengths(scores).sum() > message
    assert message < combinatorial_bound(2000, 20, 64)


def test_the_choice_itself_is_cheap_and_an_alternative_the_dearer_the_less_likely() -> None:
    code = POLICY.pooled_code(VOCABULARY)
    margins: NDArray[np.float64] = np.array([0.005, 0.05, 0.09, 0.2, 0.6])
    positions = replace(like_recorded(np.random.default_rng(2), 5), margin_nk=np.stack([0 * margins, margins], axis=1))
    own = code.lengths(positions.take(np.zeros(5, np.int64)))
    other = code.lengths(positions.take(np.ones(5, np.int64)))
    assert list(own) == sorted(own, reverse=True)
    assert list(other) == sorted(other)
    assert 2.0**-own + 2.0**-other == pytest.approx(1 - OUTSIDE)
    assert own[-1] < 0.01
    assert other[-1] > 10


def test_entropy_is_the_mean_length_of_an_honest_choice() -> None:
    code = POLICY.pooled_code(VOCABULARY)
    rng = np.random.default_rng(3)
    positions = like_recorded(rng, 300)
    mean = np.zeros(300)
    total = np.zeros(300)
    for candidate in range(4):
        there = np.isfinite(positions.margin_nk[:, candidate])
        scores = positions.take(np.full(300, candidate))
        length = code.lengths(scores) + np.log2(1 - OUTSIDE)
        mean += np.where(there, 2.0**-length * length, 0)
        total += np.where(there, 2.0**-length, 0)
    assert total == pytest.approx(np.ones(300))
    assert code.entropies(positions.take(np.zeros(300, np.int64))) == pytest.approx(mean)
