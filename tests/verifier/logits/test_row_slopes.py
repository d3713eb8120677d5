"""A repetition penalty scales logits, and so their errors: tolerances follow, for honest servers and against others."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom, norm

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.support import Filters
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, noise_counts
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance, score

N, V = 600, 300
TOLERANCE = Tolerance(margin=0.1, logit_slack=0.15, mass_slack=0.004)
WINDOW = Window(margin=1.0, logit_slacks=(0.15,), mass_slack=0.004)
NOISE = gumbel_noise("vllm-cpu", V)
SETTINGS = {
    "unfiltered": (V, 1.0, 0.0),
    "top-k": (20, 1.0, 0.0),
    "top-p": (V, 0.9, 0.0),
    "top-k and top-p": (20, 0.9, 0.0),
    "min-p": (V, 1.0, 0.1),
}


def drawn(temperature: float, setting: str, claimed: NDArray[np.int64]) -> Draws:
    top_k, top_p, min_p = SETTINGS[setting]
    n = len(claimed)
    temperatures = np.full(n, temperature)
    return Draws(
        claimed_n=claimed,
        temperature_n=temperatures,
        filters=Filters(
            temperature_n=temperatures,
            top_k_n=np.full(n, top_k),
            top_p_n=np.full(n, top_p),
            min_p_n=np.full(n, min_p),
        ),
        noise=NOISE,
        keys_n=NOISE.keys(7, 3, n),
        uniforms_n=None,
        raw_rank_n=np.zeros(n, np.int64),
    )


def scored(rows: TorchRows, draws: Draws) -> TokenScores:
    return score(gumbel_candidates(rows, draws, WINDOW), TOLERANCE, 0)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("penalty", [0.1, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_scaling_every_logit_is_scaling_the_temperature(sign: int, penalty: float, setting: str) -> None:
    """Where every token is repeated and of one sign, x / r + T g = (x + r T g) / r: the same choices, as unsure."""
    rng = np.random.default_rng(3)
    logits = sign * rng.uniform(1, 9, (N, V)).astype(np.float32)
    claimed = rng.integers(0, V, N)
    factor = 1 / penalty if sign > 0 else penalty
    params = SamplingParams(repetition_penalty=penalty)
    adjustment = LogitAdjustment(params=params, prompt_ids=range(V), output_ids=claimed.tolist())
    rows = TorchRows(torch.from_numpy(logits.copy()))
    rows.adjust(0, N, 0, adjustment)
    penalised = scored(rows, drawn(0.3 * factor, setting, claimed))
    plain = scored(TorchRows(torch.from_numpy(logits)), drawn(0.3, setting, claimed))
    np.testing.assert_array_equal(penalised.exact_n, plain.exact_n)
    # Rounding may move a token across a slack, at one of many positions.
    assert (penalised.admissible_n == plain.admissible_n).mean() > 0.995
    near = np.minimum(plain.margin_n, penalised.margin_n) < WINDOW.margin
    assert np.isclose(penalised.margin_n[near], plain.margin_n[near], atol=1e-4).mean() > 0.98


@pytest.mark.parametrize("common", [0.0, 1.0])
@pytest.mark.parametrize("penalty", [0.1, 0.5, 2.0, 10.0])
def test_honest_tokens_are_as_plausible_as_without_a_penalty(penalty: float, common: float) -> None:
    """Candidates of each margin are taken no more often than calibrated on traffic without penalties.

    Errors are Gaussian; with `common`, as much of their variance is common to a position's tokens as is each one's own.
    """
    rng = np.random.default_rng(5)
    sigma, n = 0.1, 3000
    truth = rng.normal(0, 2, (n, V)).astype(np.float32)
    error = sigma * (rng.normal(size=(n, V)) + common * rng.normal(size=(n, 1)))
    server = truth + error.astype(np.float32)
    params = SamplingParams(repetition_penalty=penalty)
    adjustment = LogitAdjustment(params=params, prompt_ids=range(0, V, 2), output_ids=[0] * n)  # every other one
    tables = []
    for logits in (server, truth):
        rows = TorchRows(torch.from_numpy(logits.copy()))
        rows.adjust(0, n, 0, adjustment)
        tables.append(rows)
    draws = drawn(0.2, "unfiltered", np.zeros(n, np.int64))
    every = np.broadcast_to(np.arange(V), (n, V))
    scores = tables[0].at(np.arange(n)[:, None], every) + draws.perturbation(every)
    found = scored(tables[1], drawn(0.2, "unfiltered", scores.argmax(axis=1)))
    exposures, chosen, _, _ = (counts.sum(axis=0) for counts in noise_counts(found))
    assert exposures.sum() > 200
    most = norm.cdf(-np.array(MARGIN_EDGES[:-1]) / (sigma * np.sqrt(2)))
    unlikely = binom.sf(chosen - 1, exposures.astype(int), most)
    assert unlikely.min() > 1e-4 / len(most)


def test_few_tokens_are_plausible_where_a_penalty_flattens_the_logits() -> None:
    """The attack: 300 ids of the prompt allowed alone, a penalty, and hardly any temperature."""
    rng = np.random.default_rng(6)
    logits = rng.normal(10, 2, (N, V)).astype(np.float32)
    params = SamplingParams(repetition_penalty=10.0, temperature=0.01)
    adjustment = LogitAdjustment(params=params, prompt_ids=range(V), output_ids=[0] * N)
    rows = TorchRows(torch.from_numpy(logits))
    rows.adjust(0, N, 0, adjustment)
    found = scored(rows, drawn(0.01, "unfiltered", rng.integers(0, V, N)))
    assert np.log2(found.admissible_n).mean() < 1
    assert (found.admissible_n <= 3).mean() > 0.9
