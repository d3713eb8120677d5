"""The trade-off curve counts what verification counts, chooses on one half, and keeps what it replayed."""

import copy
import dataclasses
import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.trade_off.curve import RATES, counting_curve, pooled_curve
from benchmarks.trade_off.published import Published, gm_ls
from benchmarks.trade_off.replayed import Replayed, replayed
from benchmarks.trade_off.scored import Choice, Scored, Slack
from tests.recorded import FILTERED, records_of
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.scoring.threshold_sweep import MARGIN_GRID, ThresholdSweep

pytestmark = pytest.mark.slow

VOCABULARY = 49_152


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def series(replayer: TransformersReplayer, cache: Path) -> Replayed:
    return replayed(records_of(FILTERED)[:24], lambda: replayer, cache, lambda _: None)


@pytest.fixture(scope="module")
def scored(series: Replayed) -> Scored:
    return Scored(series, Slack(0.3, 0.015), VOCABULARY)


def test_what_was_replayed_is_not_replayed_again(series: Replayed, cache: Path) -> None:
    def never() -> Replayer:
        raise AssertionError

    again = replayed(series.records, never, cache, lambda _: None)
    for one, other in zip(series.tables, again.tables, strict=True):
        np.testing.assert_array_equal(one.table.scores_nk, other.table.scores_nk)
        np.testing.assert_array_equal(one.record_n, other.record_n)


def test_a_threshold_makes_of_records_what_the_trade_off_of_a_policy_says(scored: Scored) -> None:
    reference = ThresholdSweep(VOCABULARY, scored.prompts)
    for prompt_n, scores in scored.parts:
        reference.add(prompt_n, scores)
    everything = np.ones(scored.prompts, np.bool_)
    for point in reference.points(16):
        sums = scored.sums(Choice(point.margin, 16), everything)
        assert sums.bits_per_token == pytest.approx(point.bits_per_token)
        assert sums.dangerous == pytest.approx(point.dangerous)
    assert len(reference.points(16)) == len(MARGIN_GRID)


def test_without_slack_honest_tokens_fall_out_of_the_support(series: Replayed, scored: Scored) -> None:
    published = Scored(series, Published(), VOCABULARY)
    everything = np.ones(scored.prompts, np.bool_)
    assert len(published.beyond(1.0, everything)) > len(scored.beyond(1.0, everything))


def test_the_published_score_is_the_likelihood_that_two_noisy_logits_swap() -> None:
    rng = np.random.default_rng(3)
    margins, sigma = np.array([0.0, 0.05, 0.1]), 0.06
    noise = rng.normal(0, sigma, (2, 400_000))
    swapped = [(noise[0] - noise[1] > margin).mean() for margin in margins]
    np.testing.assert_allclose(np.exp(gm_ls(margins, sigma)), swapped, atol=4e-3)
    assert gm_ls(np.array([np.inf]), sigma)[0] == -np.inf


def test_published_margins_are_those_of_a_replay_that_filters_as_the_server_does(
    replayer: TransformersReplayer, series: Replayed
) -> None:
    """Against every row of one batch, filtered and perturbed token by token from the definitions."""
    records = series.records
    batch = replayer.batches(records)[-1][:1]
    record = records[batch[0]]
    noise = gumbel_noise(record.scheme_name, VOCABULARY)
    keys = noise.keys(record.choice_seed(), len(record.prompt_token_ids), len(record.output_token_ids))
    logits = replayer.logits(replayer.hidden_states(batch, records)).double().numpy()
    expected = np.full(len(logits), np.inf)
    for position, (row, claimed) in enumerate(zip(logits, record.output_token_ids, strict=True)):
        order = np.argsort(-row, kind="stable")[:50]
        weights = np.exp(row[order] - row[order[0]])
        above = (np.cumsum(weights) - weights) / weights.sum()
        kept = order[above < 0.95]
        score = row[kept] + noise.at(keys[position : position + 1], kept[None, :])[0]
        if claimed in kept:
            expected[position] = score.max() - score[kept == claimed][0]
    found = np.full(len(logits), np.nan)
    for placed in series.tables:
        here = placed.record_n == batch[0]
        found[placed.position_n[here]] = Published().scores(placed.table).margin_n[here]
    near = expected <= 1.0
    np.testing.assert_allclose(found[near], expected[near], atol=1e-4)
    assert (found[~near] > 1.0).all()
    assert near.sum() > 20


@pytest.mark.parametrize("curve", [counting_curve, pooled_curve])
@pytest.mark.parametrize("graded", [True, False])
def test_curves_fall_as_more_false_positives_are_allowed(
    series: Replayed, scored: Scored, curve: object, graded: bool
) -> None:
    half_p = series.half_of_prompts(0)
    make = partial(counting_curve if curve is counting_curve else pooled_curve, graded=graded)
    points = make(scored, half_p)
    assert [point.rate for point in points] == [rate for rate in RATES if rate in {p.rate for p in points}]
    edges = np.array(MARGIN_EDGES)
    choosing = [
        scored.sums(Choice(point.margin, point.rank_limit), half_p)
        if curve is counting_curve
        else scored.pooled_sums(scored.pooled_code(edges[edges <= point.margin], point.rank_limit, half_p), half_p)
        for point in points
    ]
    for point, sums in zip(points, choosing, strict=True):
        assert sums.dangerous <= point.rate
    assert all(one.bits_per_token >= other.bits_per_token for one, other in itertools.pairwise(choosing))
    for point in points:
        assert 0 < point.low <= point.bits_per_token <= point.high < np.log2(VOCABULARY)


def test_what_chooses_does_not_judge(series: Replayed, scored: Scored) -> None:
    """With other judging records, the choosing ones choose the same."""
    half_p = series.half_of_prompts(0)
    edges = np.array([0.0, 0.05, 0.1, 0.2])
    code = scored.pooled_code(edges, 16, half_p)
    chosen = [(p.margin, p.rank_limit) for p in counting_curve(scored, half_p, graded=True)]
    other = copy.copy(scored)
    other.parts = []
    for prompt_n, scores in scored.parts:
        margin_n = np.where(half_p[prompt_n], scores.margin_n, scores.margin_n + 0.07)
        other.parts.append((prompt_n, dataclasses.replace(scores, margin_n=margin_n)))
    assert np.array_equal(other.pooled_code(edges, 16, half_p).log_odds_c, code.log_odds_c)
    assert not np.array_equal(other.pooled_code(edges, 16, ~half_p).log_odds_c, code.log_odds_c)
    assert [(p.margin, p.rank_limit) for p in counting_curve(other, half_p, graded=True)] == chosen
    assert (np.diff(code.log_odds_c[1:]) <= 0).all()
    assert scored.entropy(code, ~half_p) > 0
