"""The plugin's rule of acceptance on the project's own noise, in the quick tier."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.speculation.steps import Batch, Step, plain_draws
from tests.speculation.traffic import DRAFTERS, LIMIT, V, always_the_draw, any_id, drafted, leading_hits, steps_of

Rule = Callable[..., Any]


@pytest.mark.parametrize("drafter", DRAFTERS, ids=lambda drafter: drafter.__name__)
def test_tokens_are_those_that_the_seed_draws_whatever_is_drafted(numpy_coupled: Rule, drafter: Any) -> None:
    steps = steps_of(np.random.default_rng(1), drafter, 40)
    for step, tokens in zip(steps, Batch(steps, LIMIT, "cpu").emitted(numpy_coupled), strict=True):
        draws = plain_draws(step).tolist()
        assert tokens == draws[: len(tokens)]
        assert len(tokens) == leading_hits(step.drafts, draws) + 1


def test_drafts_that_are_the_draws_are_all_accepted(numpy_coupled: Rule) -> None:
    steps = steps_of(np.random.default_rng(2), always_the_draw, 20)
    emitted = Batch(steps, LIMIT, "cpu").emitted(numpy_coupled)
    assert [len(tokens) for tokens in emitted] == [len(step.drafts) + 1 for step in steps]
    assert max(map(len, emitted)) == LIMIT + 1


def test_ids_outside_the_vocabulary_are_never_accepted(numpy_coupled: Rule) -> None:
    def outside(rng: np.random.Generator, step: Step) -> list[int]:
        return [V, -7, 2**31 - 1, V + 5]

    step = drafted(np.random.default_rng(3), outside, np.zeros((5, V), np.float32), temperature=1.0)
    assert Batch([step], LIMIT, "cpu").emitted(numpy_coupled) == [plain_draws(step)[:1].tolist()]


def test_noise_in_float64_is_kept(numpy_coupled: Rule) -> None:
    steps = steps_of(np.random.default_rng(4), any_id, 20)
    emitted = Batch(steps, LIMIT, "cpu").emitted(numpy_coupled, use_fp64=True)
    wanted = [int(plain_draws(step, "vllm-v2-fp64")[0]) for step in steps]
    assert [tokens[0] for tokens in emitted] == wanted
    assert wanted != [int(plain_draws(step)[0]) for step in steps]


@pytest.mark.parametrize(
    "arguments",
    [
        {"synthetic_conditional_rates": torch.ones(LIMIT)},
        {"use_block_verification": True},
        {"contexts": torch.zeros(1, 1), "watermark_key": 1},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_of_other_rules_are_refused(numpy_coupled: Rule, arguments: dict[str, Any]) -> None:
    def rule(*given: Any, **named: Any) -> Any:
        return numpy_coupled(*given, **named, **arguments)

    steps = steps_of(np.random.default_rng(5), any_id, 1)
    with pytest.raises(ValueError, match="no synthetic rates, no block verification and no watermarks"):
        Batch(steps, LIMIT, "cpu").emitted(rule)
