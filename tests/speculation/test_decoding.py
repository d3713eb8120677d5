"""Decoding of the benchmark: the same answers with drafts and without, and counts that add up."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.speculation.__main__ import row_of
from benchmarks.speculation.decoding import (
    Drafter,
    Request,
    Target,
    likeliest_continuation,
    plain_answer,
    repeated_text,
    speculative_answer,
)
from benchmarks.speculation.engine_kernels import EngineKernels
from benchmarks.speculation.steps import Logits
from tests.speculation.traffic import V
from weightwarden.sampler.params import SamplingParams

PROMPT = (5, 9, 5, 9, 7)
SAMPLING = SamplingParams(temperature=0.8, top_k=40, top_p=0.95)


class TableTarget(Target):
    """A model whose logits depend on the last token and on the length of the context, which its users must keep."""

    def __init__(self) -> None:
        self._rows_vv = np.random.default_rng(2).normal(0, 4, (V, V)).astype(np.float32)
        self.context: list[int] = []

    def begin(self, prompt: Sequence[int]) -> None:
        self.context = list(prompt[:-1])

    def logits(self, tokens: Sequence[int]) -> Logits:
        rows = [np.roll(self._rows_vv[token], len(self.context) + i) for i, token in enumerate(tokens)]
        self.context += tokens
        return np.stack(rows)

    def take_back(self, count: int) -> None:
        del self.context[len(self.context) - count :]


@pytest.mark.parametrize("drafter", [likeliest_continuation, repeated_text])
def test_an_answer_with_drafts_is_the_answer_without(numpy_coupled: Callable[..., Any], drafter: Drafter) -> None:
    kernels = EngineKernels(gumbel_sample=numpy_coupled, stock=numpy_coupled, coupled=numpy_coupled)
    target, plain, counts = TableTarget(), [], []
    for seed in range(3):
        request = Request(prompt=PROMPT, tokens=30, sampling=SAMPLING, seed=seed)
        plain.append(plain_answer(target, request))
        counts.append(speculative_answer(target, kernels, request, drafter, 3, "cpu"))
        assert counts[-1].accepted + counts[-1].steps in range(30, 34)
        assert len(target.context) == len(PROMPT) - 1 + counts[-1].accepted + counts[-1].steps
    row = row_of("T = 0.8", drafter.__name__, plain, counts)
    assert (row.tokens, row.equal) == (90, 90)
    assert row.accepted_share == row.accepted_by_stock_share
    assert row.altered_by_stock_share == 0
    if drafter is likeliest_continuation:
        assert 0 < row.accepted_share < 1
        assert row.tokens_per_step > 1


def test_a_rule_that_accepts_every_draft_is_counted_as_other_tokens(numpy_coupled: Callable[..., Any]) -> None:
    def everything(*arguments: Any, **named: Any) -> Any:
        sampled, number = numpy_coupled(*arguments, **named)
        inputs, first_row = arguments[2], arguments[3]
        sampled[0, : len(inputs) - 1] = inputs[1:]
        number[0] = first_row[1]
        return sampled, number

    kernels = EngineKernels(gumbel_sample=numpy_coupled, stock=everything, coupled=everything)
    target = TableTarget()
    request = Request(prompt=PROMPT, tokens=30, sampling=SAMPLING, seed=1)
    counts = speculative_answer(target, kernels, request, likeliest_continuation, 3, "cpu")
    row = row_of("T = 0.8", "likeliest tokens", [plain_answer(target, request)], [counts])
    assert row.equal < row.tokens
    assert row.altered_by_stock_share > 0.5


def test_repeated_text_is_what_followed_the_longest_end() -> None:
    target = TableTarget()
    assert repeated_text(target, [1, 2, 3, 9, 2, 3, 4, 1, 2, 3], 2) == [9, 2]
    assert repeated_text(target, [8, 2, 5, 8, 2], 3) == [5, 8, 2]
    assert repeated_text(target, [1, 2, 3], 2) == []
