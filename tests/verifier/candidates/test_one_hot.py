"""Tokens of an engine that accepts drafts by chance: all that some draft gives are admissible, and no others."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampler import scalar_noise
from tests.verifier.candidates.engine_samplers import KnownReplayer, Logits, one_hot_token, vllm_filtered
from weightwarden.logger.record import Record
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.support import Filters
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.sampler.uniforms import draft_uniforms
from weightwarden.verifier.calibration.threshold_choice import LOGIT_SLACKS, WINDOW
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.one_hot import NARROW, one_hot_candidates
from weightwarden.verifier.candidates.pending import concat
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.partial_rows import CandidateRows, KnownLogits
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance, score

V = 120
SETTINGS: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.4},
    {"temperature": 30.0},
    {"temperature": 1.0, "top_k": 7},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 1.5, "top_p": 0.98},
    {"temperature": 2.0, "min_p": 0.05},
    {"temperature": 1.0, "top_k": 40, "top_p": 0.8, "min_p": 0.01},
]


def draws_of(claimed: IntArray, sampling: dict[str, Any], seed: int, prompt_length: int, vocabulary: int = V) -> Draws:
    n = len(claimed)
    ones, noise = np.ones(n), gumbel_noise("vllm-v2-one-hot", vocabulary)
    temperature = ones * sampling["temperature"]
    return Draws(
        claimed_n=claimed,
        temperature_n=temperature,
        filters=Filters(
            temperature_n=temperature,
            top_k_n=np.full(n, sampling.get("top_k", vocabulary)),
            top_p_n=ones * sampling.get("top_p", 1.0),
            min_p_n=ones * sampling.get("min_p", 0.0),
        ),
        noise=noise,
        keys_n=noise.keys(seed, prompt_length, n),
        uniforms_n=draft_uniforms(seed, prompt_length, n),
        raw_rank_n=np.zeros(n, np.int64),
    )


def scored(
    logits: FloatArray | Logits, draws: Draws, window: Window = EXACT_WINDOW, tolerance: Tolerance = EXACT_TOLERANCE
) -> TokenScores:
    table = concat(one_hot_candidates(TorchRows(torch.from_numpy(logits.astype(np.float32))), draws, window))
    return score(table, tolerance, window.logit_slacks.index(tolerance.logit_slack))


def everything_emitted(
    logits: FloatArray | Logits, sampling: dict[str, Any], seed: int, prompt_length: int
) -> list[set[int]]:
    """The tokens that the engine emits at each position, over every draft and none."""
    found = []
    for t, row in enumerate(logits.astype(np.float32)):
        x = vllm_filtered(row / np.float32(sampling["temperature"]), sampling)
        drafts: list[int | None] = [None, *range(len(x))]
        found.append({one_hot_token(x, seed, prompt_length - 1 + t, draft) for draft in drafts})
    return found


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_what_some_draft_gives_is_admissible_and_nothing_else(sampling: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2.5, (40, V))
    emitted = everything_emitted(logits, sampling, 99, 3)
    for pick in range(3):
        claimed = np.array([sorted(tokens)[pick % len(tokens)] for tokens in emitted])
        found = scored(logits, draws_of(claimed, sampling, 99, 3))
        assert (found.margin_n == 0).all()
        assert found.admissible_n.tolist() == [len(tokens) for tokens in emitted]
    outside = np.array([next(v for v in rng.permutation(V) if v not in tokens) for tokens in emitted])
    assert (scored(logits, draws_of(outside, sampling, 99, 3)).margin_n > EXACT_TOLERANCE.margin).all()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(-(2**63), 2**63 - 1).filter(lambda seed: seed != -1),
    prompt_length=st.integers(1, 2**20),
    which=st.integers(0, len(SETTINGS) - 1),
    spread=st.floats(0.1, 8.0),
    entropy=st.integers(0, 2**32),
)
def test_no_draft_gives_an_inadmissible_token(
    seed: int, prompt_length: int, which: int, spread: float, entropy: int
) -> None:
    rng, sampling = np.random.default_rng(entropy), SETTINGS[which]
    logits = rng.normal(0, spread, (4, V)).astype(np.float32)
    drafts = rng.integers(-1, V, 4)
    said = [
        one_hot_token(
            vllm_filtered(row / np.float32(sampling["temperature"]), sampling),
            seed,
            prompt_length - 1 + t,
            int(drafts[t]) if drafts[t] >= 0 else None,
        )
        for t, row in enumerate(logits)
    ]
    found = scored(logits, draws_of(np.array(said), sampling, seed, prompt_length))
    assert (found.margin_n <= EXACT_TOLERANCE.margin).all()


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_honest_tokens_stay_admissible_where_two_implementations_differ(sampling: dict[str, Any]) -> None:
    rng = np.random.default_rng(11)
    logits = rng.normal(0, 2.5, (60, V))
    emitted = everything_emitted(logits, sampling, 7, 4)
    ours = logits + rng.uniform(-0.02, 0.02, logits.shape)
    tolerance = Tolerance(margin=0.04, logit_slack=LOGIT_SLACKS[0], mass_slack=0.02)
    for pick in range(3):
        claimed = np.array([sorted(tokens)[pick % len(tokens)] for tokens in emitted])
        found = scored(ours, draws_of(claimed, sampling, 7, 4), WINDOW, tolerance)
        assert (found.margin_n <= tolerance.margin).all()
        assert (found.admissible_n >= [len(tokens) for tokens in emitted]).all()


def test_admissible_set_does_not_depend_on_the_claimed_token() -> None:
    logits = np.random.default_rng(2).normal(0, 2.5, (30, V))
    tolerance = Tolerance(margin=0.1, logit_slack=0.1, mass_slack=0.006)
    sizes = []
    for claimed in (logits.argmax(axis=1), logits.argmin(axis=1)):
        found = scored(logits, draws_of(claimed, SETTINGS[5], 3, 2), WINDOW, tolerance)
        inside = found.margin_n <= tolerance.margin
        sizes.append((found.rival_margin_nk <= tolerance.margin).sum(axis=1) + inside)
    assert not inside.any()
    assert sizes[0].tolist() == sizes[1].tolist()


def test_expected_number_of_accepted_drafts_is_one() -> None:
    """E over a of the number of tokens with p > a is the sum of p."""
    positions = 4_000
    logits = np.tile(np.random.default_rng(8).normal(0, 2.0, (1, V)), (positions, 1))
    weights = np.exp(logits[0])
    accepted = (weights / weights.sum())[None, :] > draft_uniforms(41, 1, positions)[:, None]
    counts = accepted.sum(axis=1)
    assert abs(counts.mean() - 1) < 4 * counts.std() / np.sqrt(positions)
    found = scored(logits, draws_of(np.zeros(positions, np.int64), SETTINGS[0], 41, 1))
    assert 1 <= found.admissible_n.mean() < 3


def test_a_token_just_below_the_uniform_number_has_its_distance_as_margin() -> None:
    logits, temperature = np.random.default_rng(3).normal(0, 2.0, (400, V)).astype(np.float32), 1.3
    x = logits.astype(np.float64) / temperature
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    log_a = np.log([scalar_noise.triton_uniform(12, 1 + t) for t in range(400)])[:, None]
    short = temperature * (log_a - log_p)
    scores = x + [[scalar_noise.vllm_v2(12, 1 + t, v) for v in range(V)] for t in range(400)]
    runner_up = np.sort(scores, axis=1)[:, -2:-1]
    far = temperature * (runner_up - scores) > 1  # neither the choice nor the runner-up
    claimed = np.where((short > 0) & far, short, np.inf).argmin(axis=1)
    own = np.take_along_axis(short, claimed[:, None], 1)[:, 0]
    kept = own < 0.5
    found = scored(
        logits,
        draws_of(claimed, {"temperature": temperature}, 12, 2),
        WINDOW,
        Tolerance(margin=1.0, logit_slack=0.05, mass_slack=0.0),
    )
    assert kept.sum() > 20
    np.testing.assert_allclose(found.margin_n[kept], own[kept], atol=1e-4)


def test_positions_with_many_candidates_have_a_table_of_their_own() -> None:
    # Nearly flat: every token is admissible where a is below 1/V.
    vocabulary, positions = 2_000, 6_000
    logits = np.random.default_rng(1).normal(0, 0.01, (positions, vocabulary)).astype(np.float32)
    draws = draws_of(np.zeros(positions, np.int64), {"temperature": 1.0}, 5, 1, vocabulary)
    wide = draws.uniforms_n is not None and np.flatnonzero(draws.uniforms_n < 0.9 / vocabulary)
    assert isinstance(wide, np.ndarray)
    assert len(wide)
    some = np.union1d(wide, np.arange(200))
    assert draws.keys_n is not None
    assert draws.uniforms_n is not None
    ones = np.ones(len(some))
    draws = replace(
        draws,
        claimed_n=draws.claimed_n[some],
        temperature_n=ones,
        keys_n=draws.keys_n[some],
        uniforms_n=draws.uniforms_n[some],
        raw_rank_n=draws.raw_rank_n[some],
        filters=Filters(
            temperature_n=ones, top_k_n=np.full(len(some), vocabulary), top_p_n=ones, min_p_n=np.zeros(len(some))
        ),
    )
    parts = one_hot_candidates(TorchRows(torch.from_numpy(logits[some])), draws, EXACT_WINDOW)
    assert len(parts) > 1
    assert np.sort(np.concatenate([part.rows for part in parts])).tolist() == list(range(len(some)))
    for part in parts:
        found = score(part.table, EXACT_TOLERANCE, 0)
        full = np.isin(some[part.rows], wide)
        assert (found.admissible_n[full] == vocabulary).all()
        assert full.all() or part.table.ids_nk.shape[1] <= NARROW + 1


def test_rows_with_unknown_logits_are_refused() -> None:
    known = KnownLogits(
        ids_mk=np.array([[1, 2]]),
        logits_mk=np.array([[3.0, 2.0]]),
        ceiling_m=np.array([1.0]),
        claimed_rank_m=np.array([1]),
        drawn_m=np.array([-1]),
        claim_only_m=np.array([-1]),
    )
    with pytest.raises(ReplayError, match="drafted tokens are accepted by probability, which needs every logit"):
        one_hot_candidates(CandidateRows(known, V), draws_of(np.array([1]), SETTINGS[0], 1, 1), EXACT_WINDOW)


def test_a_repetition_penalty_scales_the_margins_of_drafts() -> None:
    """Honest answers under penalties pass where the raw logits of two implementations differ."""
    rng = np.random.default_rng(6)
    raw = rng.normal(0, 2.5, (12, 10, V)).astype(np.float32)
    records = []
    for number, rows in enumerate(raw):
        said: list[int] = []
        for t, row in enumerate(rows):
            seen = np.isin(np.arange(V), [number, *said])
            x = np.where(seen, np.where(row > 0, row / np.float32(1.8), row * np.float32(1.8)), row).astype(np.float32)
            said.append(one_hot_token(x, 50 + number, t, int(np.argsort(-x)[rng.integers(3)])))
        records.append(
            Record.model_validate(
                {
                    "engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-v2-one-hot"},
                    "model": "known",
                    "prompt_token_ids": [number],
                    "output_token_ids": said,
                    "seed": 50 + number,
                    "choice_index": 0,
                    "sampling": {"temperature": 1.0, "repetition_penalty": 1.8, "max_tokens": 10},
                    "finish_reason": "length",
                    "stop_reason": None,
                }
            )
        )

    def margins(logits: Logits, window: Window, tolerance: Tolerance) -> FloatArray:
        tables = Replay(KnownReplayer(logits), window).tables(records)
        return np.concatenate([score(placed.table, tolerance, 0).margin_n for placed in tables])

    assert (margins(raw, EXACT_WINDOW, EXACT_TOLERANCE) == 0).all()
    ours = raw + rng.uniform(-0.02, 0.02, raw.shape).astype(np.float32)
    tolerance = Tolerance(margin=0.04, logit_slack=LOGIT_SLACKS[0], mass_slack=0.0)
    assert (margins(ours, WINDOW, tolerance) <= tolerance.margin + 1e-5).all()
