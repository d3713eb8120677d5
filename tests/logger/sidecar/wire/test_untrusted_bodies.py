"""Bodies that nobody's client sends: a chat is made of them, or the client is told what is wrong, and nothing else."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.wire.messages_api.request import CountTokensRequest, MessagesRequest
from weightwarden.logger.sidecar.wire.requests import ChatRequest, parse
from weightwarden.logger.sidecar.wire.responses_api.request import ResponsesRequest

RESPONSES: dict[str, Any] = {
    "model": "small",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "c", "annotations": []}]},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "e"}]},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    "reasoning": {"effort": "low"},
    "metadata": {"a": "b"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 5,
    "temperature": 1.0,
    "store": False,
    "stop": ["x"],
    "logit_bias": {"5": 1},
}
MESSAGES: dict[str, Any] = {
    "model": "small",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "c", "signature": "d"},
                {"type": "tool_use", "id": "e", "name": "f", "input": {"g": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "e", "content": "h"}]},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1500},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "stop_sequences": ["i"],
    "temperature": 1.0,
}
BODIES = [(ResponsesRequest, RESPONSES), (MessagesRequest, MESSAGES), (CountTokensRequest, MESSAGES)]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None), max_size=3)
    | st.sampled_from(
        ["text", "function", "tool_use", "message", "input_text", "auto", "json_schema", "\ud800", "<text>"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "name", "input", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place within a value: its container, and its key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def is_answered(kind: type[Any], body: bytes, ignored: set[str] | None) -> bool:
    """Whether a chat is made of a body. Anything that is raised but an ApiError fails the test."""
    try:
        made = parse(kind, body, ignored).chat()
    except ApiError as refusal:
        made = refusal
    if isinstance(made, ChatRequest):
        return True
    assert made.status == 400
    assert made.message.isprintable()
    assert len(made.message) < 1000
    return False


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(BODIES), st.data(), st.booleans())
def test_a_mutated_body_becomes_a_chat_or_a_refusal(
    body: tuple[type[Any], dict[str, Any]], data: st.DataObject, ignores: bool
) -> None:
    kind, mutated = body[0], copy.deepcopy(body[1])
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(mutated))))
        if data.draw(st.booleans()):
            container[key] = data.draw(JUNK)
        elif isinstance(container, dict):
            container[data.draw(st.text(max_size=3))] = container.pop(key)
        else:
            container.insert(key, copy.deepcopy(container[key]))
    is_answered(kind, json.dumps(mutated).encode(), set() if ignores else None)


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_a_body_as_it_should_be_becomes_a_chat(kind: type[Any], body: dict[str, Any]) -> None:
    given = {key: value for key, value in body.items() if key in kind.model_fields or kind is ResponsesRequest}
    assert is_answered(kind, json.dumps(given).encode(), None)
    assert is_answered(kind, json.dumps(given | {"not_known": 1}).encode(), set())
    assert not is_answered(kind, json.dumps(given | {"not_known": 1}).encode(), None)


@pytest.mark.parametrize("seed", range(40))
def test_a_body_with_changed_bytes_becomes_a_chat_or_a_refusal(seed: int) -> None:
    draw = random.Random(seed)
    for kind, body in BODIES:
        damaged = bytearray(json.dumps(body).encode())
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(damaged))
            damaged[at : at + draw.randint(0, 3)] = draw.choice(
                [b"", b'"', b"{", b"]", b"\xff", b"\\u0000", b"9", b",,"]
            )
        is_answered(kind, bytes(damaged), None)


@pytest.mark.parametrize("value", [[[]] * 5000, ["x"] * 60_000, [{}] * 5000, {"x": [{"type": "text"}] * 5000}])
@pytest.mark.parametrize(("kind", "body"), BODIES[:2])
def test_long_lists_of_junk_are_refused_at_their_first_item(kind: type[Any], body: dict[str, Any], value: Any) -> None:
    for field in ("input", "messages", "system", "tools", "stop_sequences", "include", "tool_choice"):
        if field in kind.model_fields:
            assert not is_answered(kind, json.dumps({**body, field: value}).encode(), None)
