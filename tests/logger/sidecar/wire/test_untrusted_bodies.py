"""Bodies that nobody's client sends: a chat is made of them, or the client is told what is wrong, and nothing else."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logger.sidecar.wire.bodies import BODIES, is_answered
from weightwarden.logger.sidecar.wire.responses_api.request import ResponsesRequest

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


@pytest.mark.parametrize("value", [[[]] * 5000, ["x"] * 60_000, [{}] * 5000, {"x": [{"type": "text"}] * 5000}])
@pytest.mark.parametrize(("kind", "body"), BODIES[:2])
def test_long_lists_of_junk_are_refused_at_their_first_item(kind: type[Any], body: dict[str, Any], value: Any) -> None:
    for field in ("input", "messages", "system", "tools", "stop_sequences", "include", "tool_choice"):
        if field in kind.model_fields:
            assert not is_answered(kind, json.dumps({**body, field: value}).encode(), None)
