"""Rows of K candidates against whole rows: never a false alarm, never a charge too small, equal where resolved."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.verifier.candidates.test_gumbel import SETTINGS, V, draws
from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.support import Filters
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.table import TIE_MARGIN, CandidateTable
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.partial_rows import CandidateRows, KnownLogits
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance, score

N = 60
LOOSE = Tolerance(margin=0.3, logit_slack=0.2, mass_slack=0.01)
LOOSE_WINDOW = Window(margin=1.0, logit_slacks=(0.2,), mass_slack=0.01)
TIERS = {"exact": (EXACT_TOLERANCE, EXACT_WINDOW), "tolerant": (LOOSE, LOOSE_WINDOW)}
ADJUSTED = {
    "penalties": SamplingParams(repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.2),
    "bias": SamplingParams(logit_bias={7: 4.0, 11: -50.0, 390: 9.0}),
    "bias and penalties": SamplingParams(logit_bias={7: 4.0, 300: 12.0}, repetition_penalty=0.8),
    "allowed": SamplingParams(allowed_token_ids=[3, 50, 51, 52, 399]),
}


def steep_logits(rng: np.random.Generator, rounded: bool) -> NDArray[np.float32]:
    """Logits of very different spread; with bfloat16's coarse steps, so that many tie."""
    logits = rng.normal(size=(N, V)) * rng.choice([1.0, 3.0, 6.0], (N, 1))
    steps: NDArray[np.float32] = (np.round(logits * 8) / 8 if rounded else logits).astype(np.float32)
    return steps


def known_of(logits: NDArray[np.float32], claimed: IntArray, top: int, drawn: BoolArray | None = None) -> KnownLogits:
    """What a server that gives `top` candidates and the claimed token would tell."""
    n = len(logits)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    inside = (order == claimed[:, None]).any(axis=1)
    ids = np.hstack([order, np.where(inside, -1, claimed)[:, None]])
    values = np.where(ids >= 0, np.take_along_axis(logits, np.maximum(ids, 0), 1).astype(np.float64), -np.inf)
    own = np.take_along_axis(logits, claimed[:, None], 1)
    return KnownLogits(
        ids_mk=ids,
        logits_mk=values,
        ceiling_m=np.take_along_axis(logits, order[:, -1:], 1)[:, 0].astype(np.float64),
        claimed_rank_m=(logits >= own).sum(axis=1),
        drawn_m=np.full(n, -1) if drawn is None else np.where(drawn, claimed, -1),
        claim_only_m=np.where(inside, -1, claimed),
    )


def claims(logits: NDArray[np.float32], setting: tuple[float, int, float, float], rng: np.random.Generator) -> Draws:
    """Draws whose claimed token is often the winner, and else anything."""
    _, noise = draws("vllm-cpu", setting, np.zeros(N, np.int64), seed=11)
    winner = (logits + setting[0] * noise).argmax(axis=1)
    claimed = np.where(rng.random(N) < 0.5, winner, rng.integers(0, V, N))
    return draws("vllm-cpu", setting, claimed, seed=11)[0]


def both(
    logits: NDArray[np.float32], some: Draws, top: int, tier: str, adjustments: Sequence[LogitAdjustment] = ()
) -> tuple[TokenScores, TokenScores, CandidateTable]:
    """Scores from whole rows and from candidates, and the candidates' table."""
    tolerance, window = TIERS[tier]
    whole = TorchRows(torch.from_numpy(logits.astype(np.float32)))
    few = CandidateRows(known_of(logits, some.claimed_n, top), V)
    for adjustment in adjustments:
        whole.adjust(0, N, 0, adjustment)
        few.adjust(0, N, 0, adjustment)
    table = gumbel_candidates(few, some, window)
    return score(gumbel_candidates(whole, some, window), tolerance, 0), score(table, tolerance, 0), table


def assert_bounds_hold(whole: TokenScores, few: TokenScores, table: CandidateTable, tier: str) -> None:
    tolerance, window = TIERS[tier]
    if (table.steepest_n > 1).any():  # beyond the window, candidates that a margin could be taken from are not kept
        whole = replace(whole, margin_n=np.where(whole.margin_n > window.margin, np.inf, whole.margin_n))
        few = replace(few, margin_n=np.where(few.margin_n > window.margin, np.inf, few.margin_n))
    honest = whole.margin_n <= tolerance.margin
    assert (few.margin_n[honest] <= tolerance.margin).all()
    assert (few.margin_n <= whole.margin_n + 1e-5).all()
    still_safe = few.margin_n <= tolerance.margin
    assert (few.admissible_n[still_safe & honest] >= whole.admissible_n[still_safe & honest]).all()
    resolved = ~table.open_n
    assert (few.unseen_n[resolved] == 0).all()
    assert (few.admissible_n[resolved] == whole.admissible_n[resolved]).all()
    # A contradicted claim may be outside a cut as well, which nobody asks for.
    assert (whole.margin_n[resolved & table.contradicted_n] > tolerance.margin).all()
    equal = resolved & ~table.contradicted_n
    assert few.margin_n[equal] == pytest.approx(whole.margin_n[equal], abs=1e-5)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("rounded", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("top", [8, 40, 150])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_candidates_never_judge_worse_nor_charge_less_than_whole_rows(
    setting: tuple[float, int, float, float], top: int, rounded: bool, tier: str
) -> None:
    rng = np.random.default_rng(7)
    logits = steep_logits(rng, rounded)
    whole, few, table = both(logits, claims(logits, setting, rng), top, tier)
    assert_bounds_hold(whole, few, table, tier)


@pytest.mark.parametrize("setting", ["unfiltered", "top-k and top-p", "top-p within the head", "min-p"])
@pytest.mark.parametrize("top", [8, 40, 150])
@pytest.mark.parametrize("params", ADJUSTED.values(), ids=ADJUSTED.keys())
def test_bounds_hold_where_bias_masks_and_penalties_touch_tokens_that_are_not_known(
    params: SamplingParams, top: int, setting: str
) -> None:
    rng = np.random.default_rng(8)
    logits = steep_logits(rng, rounded=True)
    some = claims(logits, SETTINGS[setting], rng)
    adjustment = LogitAdjustment(
        params=params, prompt_ids=rng.integers(0, V, 80).tolist(), output_ids=some.claimed_n.tolist()
    )
    whole, few, table = both(logits, some, top, "exact", [adjustment])
    assert_bounds_hold(whole, few, table, "exact")


def test_enough_candidates_resolve_everything_and_few_do_not() -> None:
    rng = np.random.default_rng(9)
    logits = steep_logits(rng, rounded=False)
    some = claims(logits, SETTINGS["unfiltered"], rng)
    unresolved = [both(logits, some, top, "exact")[2].open_n.sum() for top in (4, 40, 200, V - 1)]
    assert unresolved[0] > N / 4
    assert unresolved == sorted(unresolved, reverse=True)
    assert unresolved[-1] == 0


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_what_the_engine_was_seen_to_draw_is_resolved_whatever_is_unseen(
    setting: tuple[float, int, float, float],
) -> None:
    rng = np.random.default_rng(10)
    logits = steep_logits(rng, rounded=False)
    rows = TorchRows(torch.from_numpy(logits))
    blank, _ = draws("vllm-cpu", setting, np.zeros(N, np.int64), seed=11)
    table = gumbel_candidates(rows, blank, Window(margin=50.0, logit_slacks=(1e-5,), mass_slack=1e-5))
    drawn = np.array(
        [
            next(int(i) for i in row_ids[np.argsort(-row_scores)] if i >= 0)
            for row_ids, row_scores in zip(table.ids_nk, winners(table, logits, setting), strict=True)
        ]
    )
    some, _ = draws("vllm-cpu", setting, drawn, seed=11)
    whole = score(gumbel_candidates(rows, some, EXACT_WINDOW), EXACT_TOLERANCE, 0)
    sure = whole.exact_n & (whole.admissible_n == 1)
    assert sure.mean() > 0.9
    few = CandidateRows(known_of(logits, drawn, 60, drawn=np.ones(N, np.bool_)), V)
    found = gumbel_candidates(few, some, EXACT_WINDOW)
    scores = score(found, EXACT_TOLERANCE, 0)
    assert scores.exact_n.all()
    assert (scores.margin_n <= EXACT_TOLERANCE.margin).all()
    known = few.at(np.arange(N), drawn) > few.ceilings()  # what stands below may tie with what is unseen
    assert known.mean() > 0.3
    resolved = known & ~found.open_n
    if setting[2] > 0.5:  # a nucleus of a few percent lies anywhere in what is known
        assert resolved.sum() > 0.5 * known.sum()
    assert (scores.admissible_n[resolved & sure] == 1).all()
    assert (scores.unseen_n[known] == 0).all()


def winners(table: CandidateTable, logits: NDArray[np.float32], setting: tuple[float, int, float, float]) -> FloatArray:
    """Scores of the table's candidates inside the support, by enumeration; -inf outside."""
    temperature, top_k, top_p, min_p = setting
    scores = np.full(table.ids_nk.shape, -np.inf)
    for t, ids in enumerate(table.ids_nk):
        row = logits[t].astype(np.float64)
        order = np.sort(row)[::-1]
        kept = row >= (order[top_k - 1] if top_k < V else -np.inf)
        kept &= row >= (order[0] + temperature * np.log(min_p) if min_p > 0 else -np.inf)
        mass = np.where(kept, np.exp((row - order[0]) / temperature), 0.0)
        above = np.array([mass[row > value].sum() for value in row]) / mass.sum()
        kept &= above < top_p
        inside = (ids >= 0) & kept[np.maximum(ids, 0)]
        scores[t, inside] = table.scores_nk[t, inside]
    return scores


def greedy_draws(claimed: IntArray) -> Draws:
    n = len(claimed)
    ones = np.ones(n)
    return Draws(
        claimed_n=claimed,
        temperature_n=ones,
        filters=Filters(temperature_n=ones, top_k_n=np.full(n, V), top_p_n=ones, min_p_n=0 * ones),
        noise=None,
        keys_n=None,
        uniforms_n=None,
        raw_rank_n=np.zeros(n, np.int64),
    )


@pytest.mark.parametrize("top", [4, V])
def test_the_lowest_id_wins_a_tie_and_the_others_are_no_choice(top: int) -> None:
    logits = np.zeros((3, V), np.float32)
    logits[:, [20, 30, 40]] = 5.0
    some = greedy_draws(np.array([20, 30, 40]))
    rows = CandidateRows(known_of(logits, some.claimed_n, top), V) if top < V else TorchRows(torch.from_numpy(logits))
    scores = score(gumbel_candidates(rows, some, EXACT_WINDOW), EXACT_TOLERANCE, 0)
    assert scores.margin_n.tolist() == [0.0, TIE_MARGIN, TIE_MARGIN]
    assert scores.exact_n.tolist() == [True, False, False]
    assert scores.admissible_n[0] == 1


def test_greedy_candidates_that_all_tie_leave_the_rest_of_the_vocabulary_open() -> None:
    logits = np.zeros((1, V), np.float32)
    table = gumbel_candidates(
        CandidateRows(known_of(logits, np.array([0]), 4), V), greedy_draws(np.array([0])), EXACT_WINDOW
    )
    assert table.open_n.all()
    assert score(table, EXACT_TOLERANCE, 0).admissible_n[0] == V - 4 + 1


def test_tokens_that_tie_at_a_top_k_cut_are_all_possible_and_none_is_sure() -> None:
    logits = np.linspace(0, -40, V, dtype=np.float32)[None, :].repeat(2, axis=0)
    logits[:, 1:4] = logits[0, 1]  # three tokens tie for the second of two places
    some, _ = draws("vllm-cpu", (1.0, 2, 1.0, 0.0), np.array([0, 1]), seed=1)
    table = gumbel_candidates(CandidateRows(known_of(logits, some.claimed_n, 8), V), some, EXACT_WINDOW)
    assert (table.logit_distance_nk[1, 0] == 0.0).all()
    scores = score(table, EXACT_TOLERANCE, 0)
    noise = some.perturbation(np.tile(np.arange(4), (2, 1)))
    better = (noise[:, 1:] + logits[:, 1:4] > noise[:, :1] + logits[:, :1]).sum(axis=1)
    assert scores.admissible_n[0] == 1 + better[0]


def test_a_request_whose_masks_leave_no_known_token_puts_the_claimed_one_outside() -> None:
    logits = steep_logits(np.random.default_rng(1), rounded=False)[:1]
    claimed = np.array([int(logits.argmax())])
    some, _ = draws("vllm-cpu", SETTINGS["unfiltered"], claimed, seed=1)
    rows = CandidateRows(known_of(logits, claimed, 4), V)
    far = int(logits.argmin())
    rows.adjust(
        0, 1, 0, LogitAdjustment(params=SamplingParams(allowed_token_ids=[far]), prompt_ids=[1], output_ids=[1])
    )
    assert np.isinf(score(gumbel_candidates(rows, some, EXACT_WINDOW), EXACT_TOLERANCE, 0).margin_n[0])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_numbers_that_no_server_could_have_computed_are_an_error(broken: float) -> None:
    logits = steep_logits(np.random.default_rng(1), rounded=False)
    logits[3, int(logits[3].argmax())] = broken
    known = known_of(steep_logits(np.random.default_rng(1), rounded=False), np.zeros(N, np.int64), 4)
    values = known.logits_mk.copy()
    values[3, 0] = broken
    with pytest.raises(ReplayError, match="no finite"):
        CandidateRows(replace(known, logits_mk=values), V)
