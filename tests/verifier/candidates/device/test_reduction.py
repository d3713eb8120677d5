"""The device's reduction against the host's, which `test_gumbel_candidates` holds to an enumeration."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.support import Filters
from weightwarden.verifier.candidates.device.rows import DeviceRows
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.pending import finished
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.logits.whole_rows import TorchRows

V = 4099
WINDOWS = {
    "a policy's": Window(margin=1.0, logit_slacks=(0.15,), mass_slack=0.002),
    "calibration's": Window(margin=1.0, logit_slacks=(0.0, 0.1, 0.4), mass_slack=0.02),
    "none": Window(margin=0.0, logit_slacks=(0.0,), mass_slack=0.0),
}
SETTINGS = {
    "unfiltered": (1.0, V, 1.0, 0.0),
    "hot": (2.0, V, 1.0, 0.0),
    "top-k": (1.0, 20, 1.0, 0.0),
    "top-k and top-p": (1.0, 50, 0.95, 0.0),
    "top-p": (0.5, V, 0.8, 0.0),
    "a wide nucleus": (1.5, V, 0.95, 0.0),
    "min-p": (1.0, V, 1.0, 0.05),
    "min-p beyond the head": (2.0, V, 1.0, 0.001),
    "min-p and a wide nucleus": (2.0, V, 0.97, 0.0001),
    "all": (0.8, 100, 0.9, 0.01),
    "top-p of almost nothing": (1.0, V, 0.05, 0.0),
    "top-k of one": (1.0, 1, 1.0, 0.0),
    "a wide top-k": (1.0, 700, 0.99, 0.0),
}


def logits_of(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Flat and peaked rows, with exact ties, and some masked tokens."""
    logits: NDArray[np.float32] = (rng.normal(size=(n, V)) * rng.choice([1.0, 3.0, 6.0], (n, 1))).astype(np.float32)
    logits[:, :50] = np.round(logits[:, :50])
    logits[n // 2 :, rng.integers(0, V, 40)] = -np.inf
    return logits


def draws_of(scheme: str, settings: list[tuple[float, int, float, float]], claimed: NDArray[np.int64]) -> Draws:
    n = len(claimed)
    temperature, top_k, top_p, min_p = (np.array([settings[i % len(settings)][j] for i in range(n)]) for j in range(4))
    noise = None if scheme == "greedy" else gumbel_noise(scheme, V)
    return Draws(
        claimed_n=claimed,
        temperature_n=temperature,
        filters=Filters(temperature_n=temperature, top_k_n=top_k.astype(np.int64), top_p_n=top_p, min_p_n=min_p),
        noise=noise,
        keys_n=None if noise is None else noise.keys(11, 5, n),
        uniforms_n=None,
        raw_rank_n=np.zeros(n, np.int64),
    )


def claims(rng: np.random.Generator, logits: NDArray[np.float32], draws: Draws) -> Draws:
    """Draws whose claimed tokens are likely ones, and some that are anything."""
    ids = np.tile(np.arange(V), (len(logits), 1))
    likely = (logits + draws.perturbation(ids)).argmax(axis=1)
    return replace(draws, claimed_n=np.where(rng.random(len(logits)) < 0.6, likely, draws.claimed_n))


def check_equal(ours: CandidateTable, theirs: CandidateTable, atol: float) -> None:
    """Same candidates in the same order but for ties, numbers equal to `atol`."""
    for field in fields(CandidateTable):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name == "gumbel_rank_n":  # exact within the window only
            np.testing.assert_array_equal(a[~ours.contradicted_n], b[~ours.contradicted_n], err_msg=field.name)
        elif a.dtype == np.float64:
            np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=field.name)
        else:
            np.testing.assert_array_equal(a, b, err_msg=field.name)


def comparable(table: CandidateTable, window: Window) -> CandidateTable:
    """The same table for scoring: the other candidates by token id, for equal logits have no order of their own.

    No mass above a token is beyond what no slack lets pass (outside the head the host says 1); none without top-p.
    """
    most = np.where(table.top_p_n < 1, table.top_p_n + window.mass_slack * table.mass_scale_n, 0.0)[:, None, None]
    ids = np.where(table.ids_nk < 0, np.iinfo(np.int64).max, table.ids_nk)
    ids[:, 0] = -1
    order = np.argsort(ids, axis=1, kind="stable")
    deep = order[:, :, None]
    return replace(
        table,
        ids_nk=np.take_along_axis(table.ids_nk, order, 1),
        scores_nk=np.take_along_axis(table.scores_nk, order, 1),
        score_min_nke=np.take_along_axis(table.score_min_nke, deep, 1),
        score_max_nke=np.take_along_axis(table.score_max_nke, deep, 1),
        logit_distance_nk=np.take_along_axis(table.logit_distance_nk, order, 1),
        mass_above_min_nke=np.minimum(np.take_along_axis(table.mass_above_min_nke, deep, 1), most),
        mass_above_max_nke=np.minimum(np.take_along_axis(table.mass_above_max_nke, deep, 1), most),
    )


def both(
    logits: NDArray[np.float32], draws: Draws, window: Window, selection: TopKMethod, device: str = "cpu"
) -> tuple[CandidateTable, CandidateTable]:
    pending = DeviceRows(torch.from_numpy(logits.copy()).to(device), selection).begin(draws, window)
    assert pending is not None
    host = gumbel_candidates(TorchRows(torch.from_numpy(logits)), draws, window)
    return comparable(finished(pending), window), comparable(host, window)


@pytest.mark.parametrize("selection", ["blocked", "topk"])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
@pytest.mark.parametrize(
    "scheme", ["vllm-cpu", "vllm-v2", "vllm-v2-fp64", "vllm-v1", "vllm-v1-fp64", "sglang", "greedy"]
)
@pytest.mark.parametrize("setting", [[s] for s in SETTINGS.values()], ids=SETTINGS.keys())
def test_the_device_finds_the_candidates_of_the_host(
    scheme: str, setting: list[tuple[float, int, float, float]], window: Window, selection: TopKMethod
) -> None:
    rng = np.random.default_rng(7)
    logits = logits_of(rng, 24)
    settings = [(1.0, V, 1.0, 0.0)] if scheme == "greedy" else setting
    draws = claims(rng, logits, draws_of(scheme, settings, rng.integers(0, V, len(logits))))
    check_equal(*both(logits, draws, window, selection), atol=1e-5)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_positions_of_one_chunk_may_be_drawn_in_any_way(window: Window) -> None:
    rng = np.random.default_rng(8)
    logits = logits_of(rng, 52)
    draws = claims(rng, logits, draws_of("vllm-v2", list(SETTINGS.values()), rng.integers(0, V, len(logits))))
    check_equal(*both(logits, draws, window, "blocked"), atol=1e-5)


def test_flat_rows_with_thousands_of_candidates_are_reduced_all_the_same() -> None:
    rng = np.random.default_rng(9)
    logits = rng.normal(size=(6, V)).astype(np.float32) * 0.01
    logits[3:] = 0.5
    window = Window(margin=20.0, logit_slacks=(0.1,), mass_slack=0.01)
    draws = claims(rng, logits, draws_of("vllm-cpu", [SETTINGS["unfiltered"]], rng.integers(0, V, len(logits))))
    ours, theirs = both(logits, draws, window, "blocked")
    assert ours.ids_nk.shape[1] > 1000
    check_equal(ours, theirs, atol=1e-9)


def test_the_best_scores_are_the_hosts_to_rounding_in_double_precision() -> None:
    rng = np.random.default_rng(10)
    logits = logits_of(rng, 40)
    draws = claims(rng, logits, draws_of("vllm-cpu", [SETTINGS["top-k and top-p"]], rng.integers(0, V, len(logits))))
    check_equal(*both(logits, draws, WINDOWS["calibration's"], "blocked"), atol=1e-12)


def test_a_rank_before_penalties_is_kept() -> None:
    rng = np.random.default_rng(11)
    logits = logits_of(rng, 4)
    draws = draws_of("vllm-v2", [SETTINGS["top-k"]], rng.integers(0, V, 4))
    draws = replace(draws, raw_rank_n=np.array([0, 3, 0, 9]))
    ours, theirs = both(logits, draws, WINDOWS["a policy's"], "blocked")
    assert ours.logit_rank_n[[1, 3]].tolist() == [3, 9]
    check_equal(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("selection", ["blocked", "topk"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_without_a_finite_maximum_is_an_error(value: float, selection: TopKMethod) -> None:
    rng = np.random.default_rng(12)
    logits = logits_of(rng, 3)
    logits[1, 77] = value
    if value == -np.inf:
        logits[1] = value
    draws = draws_of("vllm-v2", [SETTINGS["top-k"]], rng.integers(0, V, 3))
    pending = DeviceRows(torch.from_numpy(logits), selection).begin(draws, WINDOWS["none"])
    assert pending is not None
    with pytest.raises(ReplayError, match="no finite maximum"):
        finished(pending)


def test_what_has_no_twin_on_the_device_is_left_to_the_host() -> None:
    rng = np.random.default_rng(13)
    rows = DeviceRows(torch.from_numpy(logits_of(rng, 2)), "blocked")
    claimed = rng.integers(0, V, 2)
    assert rows.begin(draws_of("vllm-v1-cpu", [SETTINGS["top-k"]], claimed), WINDOWS["none"]) is None
    uniforms = replace(draws_of("greedy", [SETTINGS["top-k"]], claimed), uniforms_n=np.full(2, 0.5))
    assert rows.begin(uniforms, WINDOWS["none"]) is None
