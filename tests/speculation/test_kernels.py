"""The plugin and the stock rule on vLLM's own kernels, on a GPU or in Triton's interpreter (`make test-triton`)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.speculation.engine_kernels import EngineKernels
from benchmarks.speculation.steps import Batch, Logits, Step, plain_draws
from tests.speculation.conftest import DEVICE
from tests.speculation.traffic import DRAFTERS, LIMIT, V, any_id, leading_hits, likeliest, steps_of

LENGTH = 16


@pytest.mark.parametrize("drafter", DRAFTERS, ids=lambda drafter: drafter.__name__)
def test_tokens_are_those_of_a_server_without_speculation(kernels: EngineKernels, drafter: Any) -> None:
    steps = steps_of(np.random.default_rng(1), drafter, 8)
    batch = Batch(steps, LIMIT, DEVICE)
    drawn = batch.drawn(kernels.gumbel_sample)
    for step, tokens, draws in zip(steps, batch.emitted(kernels.coupled), drawn, strict=True):
        assert draws == plain_draws(step).tolist()
        assert tokens == draws[: leading_hits(step.drafts, draws) + 1]


@pytest.mark.parametrize("limit", range(1, LIMIT + 1))
def test_any_number_of_drafts_a_step(kernels: EngineKernels, limit: int) -> None:
    steps = steps_of(np.random.default_rng(limit), likeliest, 4, limit)
    for step, tokens in zip(steps, Batch(steps, limit, DEVICE).emitted(kernels.coupled), strict=True):
        draws = plain_draws(step).tolist()
        assert tokens == draws[: leading_hits(step.drafts, draws) + 1]


def test_float64_noise(kernels: EngineKernels) -> None:
    steps = steps_of(np.random.default_rng(3), any_id, 6, 1)
    emitted = Batch(steps, 1, DEVICE).emitted(kernels.coupled, use_fp64=True)
    assert [tokens[0] for tokens in emitted] == [int(plain_draws(step, "vllm-v2-fp64")[0]) for step in steps]


def answer(rule: Callable[..., Any], table_vv: Logits, seed: int, drafts_of: Callable[[int], int]) -> list[int]:
    """An answer of a model whose logits depend on the last token alone, decoded speculatively with three drafts."""
    tokens = [0]
    while len(tokens) <= LENGTH:
        drafts: list[int] = []
        for _ in range(3):
            drafts.append(drafts_of([*tokens, *drafts][-1]))
        step = step_of(table_vv, [tokens[-1], *drafts], drafts, len(tokens) - 1, seed)
        tokens += Batch([step], 3, DEVICE).emitted(rule)[0]
    return tokens[: LENGTH + 1]


def step_of(table_vv: Logits, inputs: Sequence[int], drafts: Sequence[int], position: int, seed: int) -> Step:
    return Step(processed_nv=table_vv[inputs], drafts=drafts, position=position, temperature=1.0, seed=seed)


def test_whole_answers_are_equal_and_those_of_the_stock_rule_are_not(kernels: EngineKernels) -> None:
    rng = np.random.default_rng(7)
    table_vv = rng.normal(0, 4, (V, V)).astype(np.float32)
    drafters: dict[str, Callable[[int], int]] = {
        "likeliest": lambda token: int(table_vv[token].argmax()),
        "second": lambda token: int(np.argsort(-table_vv[token])[1]),
    }
    stock_differs = 0
    for seed, drafts_of in zip((11, -5), drafters.values(), strict=True):
        wanted = [0]
        while len(wanted) <= LENGTH:
            wanted.append(int(plain_draws(step_of(table_vv, wanted[-1:], [], len(wanted) - 1, seed))[0]))
        assert answer(kernels.coupled, table_vv, seed, drafts_of) == wanted
        stock_differs += answer(kernels.stock, table_vv, seed, drafts_of) != wanted
    assert stock_differs > 0


def test_the_stock_rule_emits_other_tokens_than_the_seed_draws(kernels: EngineKernels) -> None:
    """What the plugin is for: drafts choose among tokens under the stock rule, and not at temperature 0."""
    steps = steps_of(np.random.default_rng(9), likeliest, 12, 2)
    emitted = Batch(steps, 2, DEVICE).emitted(kernels.stock)
    equal = [tokens == plain_draws(step)[: len(tokens)].tolist() for step, tokens in zip(steps, emitted, strict=True)]
    greedy = [step.temperature == 0 for step in steps]
    assert all(same for same, is_greedy in zip(equal, greedy, strict=True) if is_greedy)
    assert not all(equal)
