import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from weightwarden.sampler.support import Filters
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.inverse_cdf import MAX_MARGIN, inverse_cdf_candidates
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.scoring.token_scores import Tolerance, score

V = 90
NOMINAL = Window(margin=1.0, logit_slacks=(0.0,), mass_slack=0.0)
"""No slack at any cut: the nominal support alone."""
WITH_SLACK = Window(margin=1.0, logit_slacks=(0.05, 0.15), mass_slack=0.01)

Setting = tuple[float, int, float, float]
"""Temperature, top-k (V is off), top-p (1 is off), min-p (0 is off)."""
SETTINGS: dict[str, Setting] = {
    "top-p before min-p": (1.0, V, 0.9, 0.1),
    "top-k, top-p and min-p": (0.8, 40, 0.95, 0.05),
    "unfiltered": (1.0, V, 1.0, 0.0),
    "unfiltered, cold": (0.7, V, 1.0, 0.0),
    "unfiltered, hot": (1.7, V, 1.0, 0.0),
    "top-k": (0.8, 10, 1.0, 0.0),
    "top-k beyond most of the vocabulary": (1.2, V - 1, 1.0, 0.0),
    "top-k of one": (1.0, 1, 1.0, 0.0),
    "top-p": (1.3, V, 0.9, 0.0),
    "top-p of almost nothing": (1.0, V, 0.01, 0.0),
    "top-k and top-p": (0.8, 20, 0.95, 0.0),
    "min-p in vocabulary order": (0.8, V, 1.0, 0.05),
    "top-k and min-p": (1.5, 30, 1.0, 0.02),
}


@dataclass(frozen=True)
class Position:
    """One position by enumeration: the kept tokens in the engine's order, and where their intervals end."""

    order: list[int]
    ends: list[float]
    drawn: int

    def margin(self, token: int, temperature: float, uniform: float) -> float:
        """temperature * |log-odds(edge) - log-odds(u)| for the edge on the side of u, logits."""
        if token not in self.order:
            return math.inf
        if token == self.drawn:
            return 0.0
        at = self.order.index(token)
        edge = self.ends[at] if at < self.order.index(self.drawn) else self.ends[at - 1]
        return temperature * abs(log_odds(edge) - log_odds(uniform))


def log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)


def enumerate_position(logits: FloatArray, uniform: float, setting: Setting) -> Position:
    """Sort after top-k or top-p, filter at temperature 1, draw at the temperature; nothing of the code under test."""
    temperature, top_k, top_p, min_p = setting
    descending = sorted(range(len(logits)), key=lambda token: -logits[token])
    kept = descending[:top_k]
    mass = sum(math.exp(logits[token]) for token in kept)
    above, nucleus = 0.0, []
    for token in kept:
        if top_p >= 1 or above < top_p:
            nucleus.append(token)
        above += math.exp(logits[token]) / mass
    largest = logits[descending[0]]
    order = [token for token in nucleus if math.exp(logits[token] - largest) >= min_p]
    if top_k >= len(logits) and top_p >= 1:
        order.sort()
    weights = [math.exp((logits[token] - largest) / temperature) for token in order]
    total, running, ends = math.fsum(weights), 0.0, []
    for weight in weights:
        running += weight
        ends.append(running / total)
    drawn = next((token for token, end in zip(order, ends, strict=True) if end >= uniform), order[-1])
    return Position(order=order, ends=ends, drawn=drawn)


def table_of(
    logits_nv: NDArray[np.float32], uniform_n: FloatArray, claimed_n: IntArray, setting: Setting, window: Window
) -> CandidateTable:
    n, ones = len(claimed_n), np.ones(len(claimed_n))
    temperature, top_k, top_p, min_p = setting
    draws = Draws(
        claimed_n=claimed_n,
        temperature_n=temperature * ones,
        filters=Filters(temperature_n=ones, top_k_n=np.full(n, top_k), top_p_n=top_p * ones, min_p_n=min_p * ones),
        noise=None,
        keys_n=None,
        uniforms_n=uniform_n,
        raw_rank_n=np.zeros(n, np.int64),
    )
    return inverse_cdf_candidates(TorchRows(torch.from_numpy(logits_nv)), draws, window)


def margins_of(table: CandidateTable, window: Window) -> FloatArray:
    tolerance = Tolerance(margin=0.1, logit_slack=window.logit_slacks[-1], mass_slack=window.mass_slack)
    return score(table, tolerance, len(window.logit_slacks) - 1).margin_n


class Sample:
    """Random logits and uniforms of one setting, and what enumeration says of them."""

    def __init__(self, seed: int, setting: Setting, positions: int = 40) -> None:
        rng = np.random.default_rng(seed)
        self.setting = setting
        self.logits = (rng.normal(size=(positions, V)) * rng.choice([0.5, 1.0, 2.0], (positions, 1))).astype(np.float32)
        self.uniform = rng.random(positions)
        self.positions = [
            enumerate_position(row, u, setting)
            for row, u in zip(self.logits.astype(np.float64), self.uniform.tolist(), strict=True)
        ]
        self.drawn = np.array([position.drawn for position in self.positions])
        # A third are drawn tokens, a third other kept ones (where there are any), a third arbitrary.
        kept = np.array([rng.choice(position.order) for position in self.positions])
        kind = rng.integers(0, 3, positions)
        self.claimed = np.choose(kind, [self.drawn, kept, rng.integers(0, V, positions)])

    def table(self, window: Window) -> CandidateTable:
        return table_of(self.logits, self.uniform, self.claimed, self.setting, window)

    def margin(self, t: int, token: int) -> float:
        return self.positions[t].margin(token, self.setting[0], float(self.uniform[t]))


every_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())


@every_setting
def test_exact_tokens_are_those_that_enumeration_draws(setting: Setting) -> None:
    sample = Sample(1, setting)
    for window in (NOMINAL, WITH_SLACK):
        table = sample.table(window)
        assert table.exact_n.tolist() == (sample.claimed == sample.drawn).tolist()
    assert 0 < table.exact_n.sum() < len(table)


@every_setting
def test_margin_is_zero_for_drawn_tokens_and_the_log_odds_to_the_edge_for_others(setting: Setting) -> None:
    sample = Sample(2, setting)
    margins = margins_of(sample.table(NOMINAL), NOMINAL)
    for t, (claimed, found) in enumerate(zip(sample.claimed.tolist(), margins.tolist(), strict=True)):
        assert found == pytest.approx(sample.margin(t, claimed), abs=1e-6), t
        assert (found == 0) == (claimed == sample.drawn[t])


@every_setting
def test_rivals_are_all_other_tokens_within_the_widest_window(setting: Setting) -> None:
    sample = Sample(3, setting)
    table = sample.table(NOMINAL)
    for t in range(len(table)):
        expected = {
            token: sample.margin(t, token)
            for token in range(V)
            if token != sample.claimed[t] and sample.margin(t, token) <= MAX_MARGIN
        }
        assert table.ids_nk[t, 0] == sample.claimed[t]
        used = np.flatnonzero(table.ids_nk[t, 1:] >= 0) + 1
        found = dict(zip(table.ids_nk[t, used].tolist(), (-table.scores_nk[t, used]).tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-6)
        assert len(used) == len(found)


@every_setting
def test_slack_at_the_cuts_never_raises_a_margin(setting: Setting) -> None:
    sample = Sample(4, setting)
    nominal = margins_of(sample.table(NOMINAL), NOMINAL)
    relaxed = margins_of(sample.table(WITH_SLACK), WITH_SLACK)
    assert (relaxed <= nominal + 1e-9).all()
    assert (relaxed[sample.claimed == sample.drawn] == 0).all()


@every_setting
def test_interval_brackets_the_uniform_number_exactly_when_the_token_is_drawn(setting: Setting) -> None:
    sample = Sample(5, setting)
    table = sample.table(NOMINAL)
    brackets = (table.cdf_low_n < 0) & (table.cdf_high_n >= 0)
    assert brackets.tolist() == (sample.claimed == sample.drawn).tolist()
    for t, claimed in enumerate(sample.claimed.tolist()):
        position, u = sample.positions[t], sample.uniform[t]
        if claimed in position.order:
            at = position.order.index(claimed)
            low = position.ends[at - 1] if at else 0.0
            assert table.cdf_low_n[t] == pytest.approx(low - u, abs=1e-12)
            assert table.cdf_high_n[t] == pytest.approx(position.ends[at] - u, abs=1e-12)


@pytest.mark.parametrize("name", ["unfiltered", "min-p in vocabulary order", "top-k"])
def test_uniform_number_on_an_edge_draws_the_token_that_the_edge_ends(name: str) -> None:
    logits = np.full((5, V), -np.inf, np.float32)
    logits[:, 1:5] = 0.0  # four equal tokens, whose intervals end at quarters
    uniform = np.array([0.0, 0.25, 0.5, 0.75, np.nextafter(0.75, 1.0)])
    table = table_of(logits, uniform, np.array([1, 1, 2, 3, 4]), SETTINGS[name], NOMINAL)
    assert table.exact_n.all()
    assert (margins_of(table, NOMINAL) == 0).all()
    after = table_of(logits, uniform, np.array([2, 2, 3, 4, 3]), SETTINGS[name], NOMINAL)
    assert not after.exact_n.any()


def test_token_that_top_k_leaves_out_far_below_the_cut_has_no_finite_margin() -> None:
    logits = np.linspace(5, -5, V, dtype=np.float32)[None, :]
    table = table_of(logits, np.array([0.5]), np.array([V - 1]), SETTINGS["top-k"], WITH_SLACK)
    assert np.isinf(margins_of(table, WITH_SLACK)[0])
    assert not table.exact_n[0]
    assert np.isinf(table.cdf_low_n[0])


@pytest.mark.parametrize("name", ["unfiltered", "min-p in vocabulary order", "top-k"])
def test_masked_tokens_are_outside_and_move_nothing(name: str) -> None:
    rng = np.random.default_rng(8)
    logits = rng.normal(size=(6, V)).astype(np.float32) * 2
    masked = logits.copy()
    masked[:, 5] = -np.inf
    logits[:, 5] = -200.0  # no weight either
    uniform = rng.random(6)
    for claimed in (np.full(6, 5), np.full(6, 6)):
        ours, theirs = (table_of(some, uniform, claimed, SETTINGS[name], WITH_SLACK) for some in (masked, logits))
        np.testing.assert_array_equal(ours.exact_n, theirs.exact_n)
        if claimed[0] == 5:
            assert np.isinf(margins_of(ours, WITH_SLACK)).all()
        else:
            np.testing.assert_allclose(margins_of(ours, WITH_SLACK), margins_of(theirs, WITH_SLACK), rtol=1e-9)


def test_token_just_below_the_top_k_cut_is_within_reach_of_the_slack_alone() -> None:
    logits = np.full((1, V), -5.0, np.float32)
    logits[0, :3] = [2.0, 1.0, 0.9]
    setting, u = (1.0, 2, 1.0, 0.0), np.array([0.9999])
    margins = [margins_of(table_of(logits, u, np.array([2]), setting, w), w)[0] for w in (NOMINAL, WITH_SLACK)]
    assert np.isinf(margins[0])
    assert margins[1] == 0.0


def assert_noise_moves_few_tokens_far(rng: np.random.Generator, logits: NDArray[np.float32], setting: Setting) -> None:
    """A server with noise of 0.02 logits draws tokens of margin below 0.25; tokens drawn elsewhere have larger ones."""
    n, (_, top_k, top_p, _) = len(logits), setting
    served = logits.astype(np.float64) + rng.normal(0, 0.02, logits.shape)
    uniform = rng.random(n)
    drawn = np.array([enumerate_position(served[t], float(uniform[t]), setting).drawn for t in range(n)])
    margins = margins_of(table_of(logits, uniform, drawn, setting, WITH_SLACK), WITH_SLACK)
    assert (margins < 0.25).mean() >= 0.995
    if top_k > 1 and top_p > 0.01:  # where more than one token is kept, some are not the replay's own
        assert (margins > 0).any()
    elsewhere = margins_of(table_of(logits, uniform, rng.permutation(drawn), setting, WITH_SLACK), WITH_SLACK)
    assert (elsewhere < 0.25).mean() < 0.7


@pytest.mark.parametrize("name", ["unfiltered", "unfiltered, cold", "unfiltered, hot", "min-p in vocabulary order"])
def test_small_noise_moves_few_tokens_far_in_vocabulary_order(name: str) -> None:
    rng = np.random.default_rng(6)
    logits = (rng.normal(size=(400, V)) * rng.choice([1.0, 2.0], (400, 1))).astype(np.float32)
    assert_noise_moves_few_tokens_far(rng, logits, SETTINGS[name])


@every_setting
def test_small_noise_moves_few_tokens_far_where_it_swaps_no_ranks(setting: Setting) -> None:
    """In descending order a swap of two ranks moves whole intervals, so the logits here are 0.2 apart or more."""
    rng = np.random.default_rng(7)
    descending = -np.cumsum(0.2 + rng.exponential(0.1, (400, V)), axis=1)
    assert_noise_moves_few_tokens_far(rng, rng.permuted(descending, axis=1).astype(np.float32), setting)


def test_rows_of_mixed_settings_are_scored_as_alone() -> None:
    samples = [Sample(7, setting, 6) for setting in SETTINGS.values()]
    order = np.random.default_rng(8).permutation(6 * len(samples))
    settings = np.repeat(np.array(list(SETTINGS.values())), 6, axis=0)[order]
    draws = Draws(
        claimed_n=np.concatenate([sample.claimed for sample in samples])[order],
        temperature_n=settings[:, 0],
        filters=Filters(
            temperature_n=np.ones(len(order)),
            top_k_n=settings[:, 1].astype(np.int64),
            top_p_n=settings[:, 2],
            min_p_n=settings[:, 3],
        ),
        noise=None,
        keys_n=None,
        uniforms_n=np.concatenate([sample.uniform for sample in samples])[order],
        raw_rank_n=np.zeros(len(order), np.int64),
    )
    logits = np.concatenate([sample.logits for sample in samples])[order]
    together = inverse_cdf_candidates(TorchRows(torch.from_numpy(logits)), draws, WITH_SLACK)
    alone = [sample.table(WITH_SLACK) for sample in samples]
    margins = np.concatenate([margins_of(table, WITH_SLACK) for table in alone])[order]
    assert margins_of(together, WITH_SLACK) == pytest.approx(margins, abs=1e-9)
    assert together.exact_n.tolist() == np.concatenate([table.exact_n for table in alone])[order].tolist()
    assert together.logit_rank_n.tolist() == np.concatenate([table.logit_rank_n for table in alone])[order].tolist()


def test_scheme_without_its_uniform_numbers_is_an_error() -> None:
    ones = np.ones(1)
    draws = Draws(
        claimed_n=np.array([0]),
        temperature_n=ones,
        filters=Filters(temperature_n=ones, top_k_n=np.array([V]), top_p_n=ones, min_p_n=0 * ones),
        noise=None,
        keys_n=None,
        uniforms_n=None,
        raw_rank_n=np.zeros(1, np.int64),
    )
    with pytest.raises(ValueError, match="needs its uniform numbers"):
        inverse_cdf_candidates(TorchRows(torch.zeros((1, V))), draws, NOMINAL)
