"""Masks of tokens on rows of every kind: whole, partly known, and reduced on a device."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.verifier.candidates.device import test_reduction as device
from tests.verifier.candidates.drawn_masks import packed, token_masks
from tests.verifier.candidates.test_gumbel import SETTINGS, V, draws
from tests.verifier.logits.test_partial_rows import (
    ADJUSTED,
    TIERS,
    N,
    assert_bounds_hold,
    known_of,
    steep_logits,
)
from tests.verifier.scoring.test_codes import POLICY, codes
from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.device.rows import DeviceRows
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.pending import finished
from weightwarden.verifier.candidates.table import CandidateTable, Standing
from weightwarden.verifier.errors import UndefinedRow
from weightwarden.verifier.logits.masked_logits import limits_by_bits, limits_by_table, mask_logits
from weightwarden.verifier.logits.partial_rows import CandidateRows
from weightwarden.verifier.logits.token_masks import allowed_counts, is_allowed
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW
from weightwarden.verifier.scoring.token_scores import TokenScores, score

SHARES = np.array([1.0, 0.9, 0.3, 0.05, 0.0])


def allowed_of(rng: np.random.Generator, n: int, vocabulary: int = V) -> BoolArray:
    """Masks that allow all tokens, many, few, and one."""
    allowed: BoolArray = rng.random((n, vocabulary)) < SHARES[np.arange(n) % len(SHARES)][:, None]
    allowed[np.arange(n), rng.integers(0, vocabulary, n)] = True
    return allowed


def drawn_under(
    logits: NDArray[np.float32], allowed: BoolArray, setting: tuple[float, int, float, float], rng: np.random.Generator
) -> Draws:
    """Draws whose claimed token is the winner among the allowed ones, another allowed token, or any token."""
    _, noise = draws("vllm-cpu", setting, np.zeros(N, np.int64), seed=11)
    winner = np.where(allowed, logits + setting[0] * noise, -np.inf).argmax(axis=1)
    other = np.where(allowed, rng.random(logits.shape), -1).argmax(axis=1)
    kind = rng.random(N)
    claimed = np.where(kind < 0.5, winner, np.where(kind < 0.8, other, rng.integers(0, V, N)))
    some = draws("vllm-cpu", setting, claimed, seed=11)[0]
    return replace(some, raw_rank_n=outside_ranks(allowed, claimed))


def outside_ranks(allowed: BoolArray, claimed: IntArray) -> IntArray:
    return np.where(allowed[np.arange(len(claimed)), claimed], 0, allowed.shape[1] + 1)


def both(
    logits: NDArray[np.float32],
    some: Draws,
    top: int,
    tier: str,
    allowed: BoolArray,
    adjustment: LogitAdjustment | None = None,
) -> tuple[TokenScores, TokenScores, CandidateTable]:
    """Scores from whole rows and from candidates under masks, and the candidates' table."""
    tolerance, window = TIERS[tier]
    whole = TorchRows(torch.from_numpy(logits.copy()))
    few = CandidateRows(known_of(logits, some.claimed_n, top), V)
    tables = []
    for rows in (whole, few):
        rows.mask(0, token_masks(allowed))
        if adjustment is not None:
            ranks = rows.rank(np.arange(N), some.claimed_n)
            some = replace(some, raw_rank_n=np.where(some.raw_rank_n > V, some.raw_rank_n, ranks))
            rows.adjust(0, N, 0, adjustment)
        tables.append(gumbel_candidates(rows, some, window))
    return score(tables[0], tolerance, 0), score(tables[1], tolerance, 0), tables[1]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("rounded", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("top", [8, 40, 150])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_candidates_under_masks_never_judge_worse_nor_charge_less_than_whole_rows(
    setting: tuple[float, int, float, float], top: int, rounded: bool, tier: str
) -> None:
    rng = np.random.default_rng(17)
    logits, allowed = steep_logits(rng, rounded), allowed_of(rng, N)
    some = drawn_under(logits, allowed, setting, rng)
    whole, few, table = both(logits, some, top, tier, allowed)
    assert_bounds_hold(whole, few, table, tier)
    outside = some.raw_rank_n > 0
    assert outside.sum() > 3
    assert np.isinf(whole.margin_n[outside]).all()
    assert np.isinf(few.margin_n[outside]).all()
    assert (few.logit_rank_n[outside] == V + 1).all()
    alone = (allowed.sum(axis=1) == 1) & ~outside
    assert alone.sum() > 3
    for scores in (whole, few):  # an allowed token without a rival is certain, known or not
        assert (scores.margin_n[alone] == 0).all()
        assert (scores.admissible_n[alone] == 1).all()
        assert (scores.standing_n[alone] == Standing.HELD).all()


@pytest.mark.parametrize("setting", ["unfiltered", "top-k and top-p", "min-p"])
@pytest.mark.parametrize("top", [8, 150])
@pytest.mark.parametrize("params", ["penalties", "bias", "bias and penalties"])
def test_bounds_hold_where_masks_meet_bias_and_penalties(params: str, top: int, setting: str) -> None:
    rng = np.random.default_rng(18)
    logits, allowed = steep_logits(rng, rounded=True), allowed_of(rng, N)
    some = drawn_under(logits, allowed, SETTINGS[setting], rng)
    adjustment = LogitAdjustment(
        params=ADJUSTED[params], prompt_ids=rng.integers(0, V, 80).tolist(), output_ids=some.claimed_n.tolist()
    )
    assert_bounds_hold(*both(logits, some, top, "exact", allowed, adjustment), "exact")


def test_a_claim_that_alone_is_known_is_compared_with_every_allowed_token() -> None:
    # None of the known candidates is allowed: any of the others could have been drawn, and is counted.
    rng = np.random.default_rng(3)
    logits = steep_logits(rng, rounded=False)[:1]
    allowed = np.zeros((1, V), np.bool_)
    allowed[0, np.argsort(-logits[0])[50:90]] = True
    claimed = np.flatnonzero(allowed[0])[:1]
    some, _ = draws("vllm-cpu", SETTINGS["unfiltered"], claimed, seed=1)
    rows = CandidateRows(known_of(logits, claimed, 8), V)
    rows.mask(0, token_masks(allowed))
    table = gumbel_candidates(rows, some, EXACT_WINDOW)
    scores = score(table, EXACT_TOLERANCE, 0)
    assert table.open_n.all()
    assert scores.margin_n[0] == 0
    assert scores.admissible_n[0] == 40
    assert scores.standing_n[0] == Standing.CLAIMED


def test_the_same_holds_where_a_request_names_the_allowed_tokens() -> None:
    rng = np.random.default_rng(3)
    logits = steep_logits(rng, rounded=False)[:1]
    few = np.argsort(-logits[0])[50:90]
    claimed = few[:1]
    some, _ = draws("vllm-cpu", SETTINGS["unfiltered"], claimed, seed=1)
    rows = CandidateRows(known_of(logits, claimed, 8), V)
    params = SamplingParams(allowed_token_ids=few.tolist())
    rows.adjust(0, 1, 0, LogitAdjustment(params=params, prompt_ids=[1], output_ids=[1]))
    assert score(gumbel_candidates(rows, some, EXACT_WINDOW), EXACT_TOLERANCE, 0).margin_n[0] == 0


def test_a_token_outside_that_the_engine_drew_is_outside_all_the_same() -> None:
    rng = np.random.default_rng(4)
    logits, allowed = steep_logits(rng, rounded=False), allowed_of(rng, N)
    claimed = np.where(allowed, -1.0, rng.random((N, V))).argmax(axis=1)
    some, _ = draws("vllm-cpu", SETTINGS["unfiltered"], claimed, seed=1)
    ranks = outside_ranks(allowed, claimed)
    rows = CandidateRows(known_of(logits, claimed, 8, drawn=np.ones(N, np.bool_)), V)
    rows.mask(0, token_masks(allowed))
    table = gumbel_candidates(rows, replace(some, raw_rank_n=ranks), EXACT_WINDOW)
    assert (ranks > V).sum() > N / 2
    assert np.isinf(score(table, EXACT_TOLERANCE, 0).margin_n[ranks > V]).all()
    assert table.contradicted_n[ranks > V].all()


def test_masks_that_leave_no_token_make_a_row_undefined() -> None:
    logits = steep_logits(np.random.default_rng(4), rounded=False)
    nothing = token_masks(np.zeros((1, V), np.bool_))
    for rows in (TorchRows(torch.from_numpy(logits)), CandidateRows(known_of(logits, np.zeros(N, np.int64), 8), V)):
        rows.mask(5, nothing)
        with pytest.raises(UndefinedRow):
            rows.head(np.arange(N), 8)


@pytest.mark.parametrize("share", [0.9, 0.2, 0.02, 0.004])
@pytest.mark.parametrize("setting", ["unfiltered", "top-k", "top-p beyond the head", "min-p"])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("top", [None, 4, 40], ids=["whole", "4 known", "40 known"])
def test_lengths_of_all_tokens_of_a_masked_position_obey_kraft(
    top: int | None, exact: bool, setting: str, share: float
) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        logits = np.tile((rng.normal(size=V) * 2).astype(np.float32), (V, 1))
        allowed = rng.random(V) < share
        allowed[rng.integers(V)] = True
        some, _ = draws("vllm-cpu", SETTINGS[setting], np.arange(V), seed)
        assert some.keys_n is not None
        some = replace(
            some,
            keys_n=np.repeat(some.keys_n[:1], V, axis=0),
            raw_rank_n=outside_ranks(np.tile(allowed, (V, 1)), np.arange(V)),
        )
        rows: TorchRows | CandidateRows
        if top is None:
            rows = TorchRows(torch.from_numpy(logits.copy()))
            counting, pooled = codes(exact=True) if exact else (POLICY.counting_code(V), POLICY.pooled_code(V))
        else:
            rows = CandidateRows(known_of(logits, np.arange(V), top), V)
            counting, pooled = codes(exact=exact)
        rows.mask(0, token_masks(np.tile(allowed, (V, 1))))
        window, tolerance = (EXACT_WINDOW, EXACT_TOLERANCE) if exact else (POLICY.window, POLICY.tolerance)
        scores = score(gumbel_candidates(rows, some, window), tolerance, 0)
        for code in (counting, pooled):
            lengths: FloatArray = code.lengths(scores)
            assert (2.0**-lengths).sum() <= 1 + 1e-9
            assert lengths[~allowed].min() > np.log2(V)


def test_bits_say_what_booleans_say_for_any_vocabulary() -> None:
    rng = np.random.default_rng(2)
    for vocabulary in (1, 31, 32, 33, 400, 4099):
        allowed = rng.random((7, vocabulary)) < 0.4
        words = packed(allowed).packed_nw
        ids = np.tile(np.arange(vocabulary), (7, 1))
        assert np.array_equal(is_allowed(words, np.arange(7)[:, None], ids), allowed)
        assert not is_allowed(words, np.arange(7), np.full(7, -1)).any()
        assert allowed_counts(words, vocabulary).tolist() == allowed.sum(axis=1).tolist()
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            logits = torch.from_numpy(rng.normal(size=(7, vocabulary))).to(dtype)
            expected = logits.masked_fill(torch.from_numpy(~allowed), -torch.inf)
            mask_logits(logits, token_masks(allowed))
            assert torch.equal(logits, expected)


def test_limits_are_the_same_by_table_and_by_bits() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(16, 16)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert torch.equal(limits_by_table(every, dtype), limits_by_bits(every, dtype))


def test_a_logit_that_is_no_number_stays_one_under_a_mask() -> None:
    logits = torch.full((1, V), torch.nan)
    mask_logits(logits, token_masks(np.zeros((1, V), np.bool_)))
    assert logits.isnan().all()


def check_device_under_masks(
    scheme: str,
    settings: list[tuple[float, int, float, float]],
    selection: TopKMethod,
    *,
    n: int,
    dtype: torch.dtype = torch.float32,
    place: str = "cpu",
) -> None:
    """Check that the device finds the candidates of the host, with masks from the fourth row on."""
    rng = np.random.default_rng(27)
    logits = torch.from_numpy(device.logits_of(rng, n)).to(dtype).float().numpy()
    logits[np.isneginf(logits)] = -30.0
    allowed = allowed_of(rng, n, device.V)
    allowed[:3] = True
    some = device.draws_of(scheme, settings, rng.integers(0, device.V, n))
    ids = np.tile(np.arange(device.V), (n, 1))
    likely = np.where(allowed, logits + some.perturbation(ids), -np.inf).argmax(axis=1)
    claimed = np.where(rng.random(n) < 0.6, likely, some.claimed_n)
    some = replace(some, claimed_n=claimed, raw_rank_n=outside_ranks(allowed, claimed))
    window = device.WINDOWS["a policy's"]
    ours = DeviceRows(torch.from_numpy(logits).to(place, dtype), selection)
    theirs = TorchRows(torch.from_numpy(logits.copy()))
    for rows in (ours, theirs):
        rows.mask(3, token_masks(allowed[3:]))
    assert ours.logits.dtype == dtype
    pending = ours.begin(some, window)
    assert pending is not None
    host = gumbel_candidates(theirs, some, window)
    device.check_equal(device.comparable(finished(pending), window), device.comparable(host, window), atol=1e-5)


@pytest.mark.parametrize("selection", ["blocked", "topk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scheme", ["vllm-cpu", "vllm-v2", "greedy"])
@pytest.mark.parametrize("setting", [[s] for s in device.SETTINGS.values()], ids=device.SETTINGS.keys())
def test_the_device_finds_the_candidates_of_the_host_under_masks(
    scheme: str, setting: list[tuple[float, int, float, float]], dtype: torch.dtype, selection: TopKMethod
) -> None:
    settings = [(1.0, device.V, 1.0, 0.0)] if scheme == "greedy" else setting
    check_device_under_masks(scheme, settings, selection, n=20, dtype=dtype)
