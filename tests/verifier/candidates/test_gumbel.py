import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.verifier.scoring.reference import score_position
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.support import Filters
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.scoring.token_scores import Tolerance, score

V = 400
SETTINGS = {
    "unfiltered": (1.0, V, 1.0, 0.0),
    "hot": (2.0, V, 1.0, 0.0),
    "top-k": (1.0, 20, 1.0, 0.0),
    "top-k and top-p": (1.0, 50, 0.95, 0.0),
    "top-p within the head": (0.5, V, 0.8, 0.0),
    "top-p beyond the head": (1.5, V, 0.95, 0.0),
    "min-p": (1.0, V, 1.0, 0.05),
    "min-p beyond the head": (2.0, V, 1.0, 0.001),
    "all": (0.8, 100, 0.9, 0.01),
    "top-p of almost nothing": (1.0, V, 0.05, 0.0),
    "top-k of one": (1.0, 1, 1.0, 0.0),
}
SLACKS = (0.0, 0.1, 0.4)


def draws(
    scheme: str, setting: tuple[float, int, float, float], claimed: NDArray[np.int64], seed: int
) -> tuple[Draws, FloatArray]:
    temperature, top_k, top_p, min_p = setting
    n = len(claimed)
    noise = gumbel_noise(scheme, V)
    keys = noise.keys(seed, 5, n)
    ones = np.ones(n)
    return (
        Draws(
            claimed_n=claimed,
            temperature_n=temperature * ones,
            filters=Filters(
                temperature_n=temperature * ones,
                top_k_n=np.full(n, top_k),
                top_p_n=top_p * ones,
                min_p_n=min_p * ones,
            ),
            noise=noise,
            keys_n=keys,
            uniforms_n=None,
            raw_rank_n=np.zeros(n, np.int64),
        ),
        noise.at(keys, np.tile(np.arange(V), (n, 1))),
    )


@pytest.mark.parametrize("scheme", ["vllm-cpu", "vllm-v2", "vllm-v1", "sglang"])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_scores_from_candidates_equal_enumeration_of_the_whole_vocabulary(
    scheme: str, setting: tuple[float, int, float, float]
) -> None:
    rng = np.random.default_rng(7)
    n = 24
    logits = (rng.normal(size=(n, V)) * rng.choice([1.0, 3.0, 6.0], (n, 1))).astype(np.float32)
    logits[:, :5] = np.round(logits[:, :5])  # some exact ties
    claimed = rng.integers(0, V, n)
    some, noise = draws(scheme, setting, claimed, seed=11)
    likely = (logits + setting[0] * noise).argmax(axis=1)
    claimed = np.where(rng.random(n) < 0.6, likely, claimed)
    some, noise = draws(scheme, setting, claimed, seed=11)
    window = Window(margin=1.0, logit_slacks=SLACKS, mass_slack=0.02)
    table = gumbel_candidates(TorchRows(torch.from_numpy(logits)), some, window)
    temperature, top_k, top_p, min_p = setting
    for level, slack in enumerate(SLACKS):
        for delta, mass_slack in ((0.0, 0.0), (0.15, 0.01), (1.0, 0.02)):
            found = score(table, Tolerance(margin=delta, logit_slack=slack, mass_slack=mass_slack), level)
            for t in range(n):
                expected = score_position(
                    logits[t].astype(np.float64),
                    noise[t],
                    int(claimed[t]),
                    temperature=temperature,
                    top_k=top_k,
                    top_p=top_p,
                    min_p=min_p,
                    delta=delta,
                    logit_slack=slack,
                    mass_slack=mass_slack,
                    noise_error=gumbel_noise(scheme, V).error(noise[t]),
                )
                place = (level, delta, t)
                assert found.margin_n[t] == pytest.approx(expected.margin, abs=1e-5), place
                assert found.admissible_n[t] == expected.admissible, place
                assert found.exact_n[t] == expected.exact, place
                assert found.logit_rank_n[t] == expected.logit_rank, place


def test_greedy_margins_are_plain_logit_differences() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(20, V)).astype(np.float32)
    claimed = rng.integers(0, V, 20)
    ones = np.ones(20)
    filters = Filters(temperature_n=ones, top_k_n=np.full(20, V), top_p_n=ones, min_p_n=0 * ones)
    some = Draws(
        claimed_n=claimed,
        temperature_n=ones,
        filters=filters,
        noise=None,
        keys_n=None,
        uniforms_n=None,
        raw_rank_n=np.zeros(20, np.int64),
    )
    table = gumbel_candidates(
        TorchRows(torch.from_numpy(logits)), some, Window(margin=0.5, logit_slacks=(0.1,), mass_slack=0.0)
    )
    found = score(table, Tolerance(margin=0.5, logit_slack=0.1, mass_slack=0.0), 0)
    gaps = logits.max(axis=1)[:, None] - logits
    assert found.margin_n == pytest.approx(gaps[np.arange(20), claimed], abs=1e-6)
    assert (found.admissible_n == (gaps <= 0.5).sum(axis=1)).all()
    assert (found.exact_n == (logits.argmax(axis=1) == claimed)).all()


def test_gumbel_rank_counts_better_candidates_within_the_window() -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(30, V)).astype(np.float32)
    some, noise = draws("vllm-v2", SETTINGS["unfiltered"], np.zeros(30, np.int64), seed=1)
    order = np.argsort(-(logits + noise), axis=1)
    claimed = order[np.arange(30), rng.integers(0, 2, 30)]
    some, _ = draws("vllm-v2", SETTINGS["unfiltered"], claimed, seed=1)
    table = gumbel_candidates(
        TorchRows(torch.from_numpy(logits)), some, Window(margin=6.0, logit_slacks=(0.1,), mass_slack=0.0)
    )
    expected = 1 + (order == claimed[:, None]).argmax(axis=1)
    assert (table.gumbel_rank_n == expected).all()


def test_a_claimed_token_masked_by_its_own_request_is_outside_the_support() -> None:
    logits = np.zeros((1, V), np.float32)
    logits[0, 3] = -np.inf
    some, _ = draws("vllm-cpu", SETTINGS["unfiltered"], np.array([3]), seed=1)
    table = gumbel_candidates(
        TorchRows(torch.from_numpy(logits)), some, Window(margin=1.0, logit_slacks=(0.1,), mass_slack=0.0)
    )
    found = score(table, Tolerance(margin=0.1, logit_slack=0.1, mass_slack=0.0), 0)
    assert np.isinf(found.margin_n[0])
    assert not found.exact_n[0]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("setting", ["unfiltered", "top-k and top-p"])
def test_logits_that_a_replay_could_not_compute_are_an_error_and_never_a_pass(broken: float, setting: str) -> None:
    logits = np.random.default_rng(1).normal(size=(3, V)).astype(np.float32)
    logits[1] = broken
    some, _ = draws("vllm-cpu", SETTINGS[setting], np.zeros(3, np.int64), seed=1)
    with pytest.raises(ReplayError, match="no finite"):
        gumbel_candidates(
            TorchRows(torch.from_numpy(logits)), some, Window(margin=1.0, logit_slacks=(0.1,), mass_slack=0.0)
        )


def test_one_nan_among_finite_logits_is_an_error() -> None:
    logits = np.random.default_rng(1).normal(size=(3, V)).astype(np.float32)
    logits[2, 17] = np.nan
    some, _ = draws("vllm-cpu", SETTINGS["unfiltered"], np.zeros(3, np.int64), seed=1)
    with pytest.raises(ReplayError, match="no finite"):
        gumbel_candidates(
            TorchRows(torch.from_numpy(logits)), some, Window(margin=1.0, logit_slacks=(0.1,), mass_slack=0.0)
        )
