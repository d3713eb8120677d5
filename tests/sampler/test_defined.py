"""Requests that leave no token, or scale logits past what can be judged."""

from typing import Any

import pytest

from weightwarden.sampler.defined import undefined_field
from weightwarden.sampler.params import SamplingParams

EOS, V = (2, 9), 40


@pytest.mark.parametrize(
    ("field", "params"),
    [
        ("allowed_token_ids", {"allowed_token_ids": [2], "min_tokens": 1}),
        ("allowed_token_ids", {"allowed_token_ids": [9, 2, 9], "min_tokens": 8, "ignore_eos": True}),
        ("allowed_token_ids", {"allowed_token_ids": [2, 5], "stop_token_ids": [5], "min_tokens": 1}),
        ("stop_token_ids", {"stop_token_ids": list(range(V)), "min_tokens": 1}),
        ("repetition_penalty", {"repetition_penalty": 1e-40}),
        ("repetition_penalty", {"repetition_penalty": 100.0}),
    ],
)
def test_what_leaves_no_definite_token_is_named(field: str, params: dict[str, Any]) -> None:
    found = undefined_field(SamplingParams(**params), EOS, V)
    assert found is not None
    assert found[0] == field


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"allowed_token_ids": [2]},
        {"allowed_token_ids": [2, 3], "min_tokens": 8},
        {"stop_token_ids": list(range(V))},
        {"stop_token_ids": list(range(3, V)), "min_tokens": 1, "repetition_penalty": 0.5},
        {"logit_bias": dict.fromkeys(range(V), -100.0), "min_tokens": 1},
    ],
)
def test_what_leaves_one_is_defined(params: dict[str, Any]) -> None:
    assert undefined_field(SamplingParams(**params), EOS, V) is None
