"""Recorded answers of a real llama.cpp server, replayed: its generator, its candidate order, its filters.

The server computes with 4-bit weights and quantised activations, the replay with the same weights in float32.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.places import DATA
from tests.recorded import records_of
from weightwarden.logger.record import Record
from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

SAMPLED = DATA / "smollm2-llamacpp11549-sampled.jsonl"
GREEDY = DATA / "smollm2-llamacpp11549-greedy.jsonl"
NEAR = 0.25
"""Logits."""
SETTINGS = {
    "top-k, top-p and min-p before the temperature": (0, 0.80),
    "no filter, vocabulary order": (8, 0.65),
    "top-p alone, sorted": (16, 0.80),
    "min-p alone, vocabulary order": (24, 0.80),
}
"""First of eight records, and the least share of tokens that must come out the same. In vocabulary order thousands of
intervals are narrower than the error of the cumulative distribution; with the server's own logits all tokens do."""


def replayed(replayer: TransformersReplayer, records: Sequence[Record]) -> tuple[BoolArray, FloatArray]:
    """Whether each token is the replay's own, and its margin, logits."""
    window = Window(margin=0.25, logit_slacks=(0.0, 0.5), mass_slack=0.03)
    tables = [placed.table for placed in Replay(replayer, window).tables(records)]
    return np.concatenate([t.exact_n for t in tables]), -np.concatenate([t.scores_nk[:, 0] for t in tables])


def with_seed_shifted(records: Sequence[Record]) -> list[Record]:
    return [record.model_copy(update={"seed": (record.seed or 0) + 1}) for record in records]


@pytest.mark.parametrize("setting", SETTINGS)
def test_recorded_answers_are_what_the_scheme_draws(setting: str, replayer: TransformersReplayer) -> None:
    first, least = SETTINGS[setting]
    records = records_of(SAMPLED)[first : first + 3]
    exact, margin = replayed(replayer, records)
    assert len(exact) > 100
    assert exact.mean() > least
    assert (margin <= NEAR).mean() > 0.94
    wrong_exact, wrong_margin = replayed(replayer, with_seed_shifted(records))
    assert wrong_exact.mean() < exact.mean() - 0.2
    assert (wrong_margin <= NEAR).mean() < 0.7


def test_recorded_greedy_answers_are_the_largest_logits(replayer: TransformersReplayer) -> None:
    exact, _ = replayed(replayer, records_of(GREEDY)[:4])
    assert exact.mean() > 0.9
