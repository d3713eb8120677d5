import json
from typing import Any

import pytest

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.wire.lean_json import MAX_DEPTH, MAX_VALUES, SMALL_BYTES, read_object
from weightwarden.logger.sidecar.wire.requests import ChatRequest, CompletionRequest, parse

PAD = " " * SMALL_BYTES
UNREAD = frozenset({"user"})


def said(text: str) -> Any:
    try:
        return read_object(text.encode(), UNREAD)
    except (ValueError, RecursionError):
        return "not JSON"


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": [1, 2.5, "x", {"c": null, "d": [[], [true]]}]}',
        '{"a": 1, "a": 2}',
        '{"user": [[{}]], "a": -0.0}',
        "[1, 2]",
        '"x"',
        "null",
        "",
        "{",
        '{"a": 1} x',
        '{"user": tru}',
        '{"a": 01}',
        '{"a": "\\u00e9\\n"}',
        '{"a": [99999999999999999999, 1]}',
    ],
)
def test_a_large_body_says_what_a_small_one_says(text: str) -> None:
    assert said(text) == said(PAD + text)
    if said(text) != "not JSON":
        whole = json.loads(text)
        assert said(text) == ({k: v for k, v in whole.items() if k != "user"} if isinstance(whole, dict) else whole)


@pytest.mark.parametrize(
    "junk",
    [b"[" + b"[]," * 1_000_000 + b"1]", b"[" + b'{"a":1},' * 400_000 + b"1]", b"[" + b"1," * 2_000_000 + b"1]"],
    ids=["lists", "objects", "numbers"],
)
@pytest.mark.parametrize("field", ["user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"])
def test_what_has_no_effect_is_never_built(field: str, junk: bytes) -> None:
    body = b'{"model": "small", "prompt": "a", "%s": %s}' % (field.encode(), junk)
    plain = b'{"model": "small", "prompt": "a", "big": "%s"}' % (b"x" * len(junk))
    counted = _calls(lambda: parse(CompletionRequest, body))
    assert parse(CompletionRequest, body).model_extra is None
    with pytest.raises(ApiError, match="not known here"):
        parse(CompletionRequest, plain)
    assert counted < 1000  # a call of the reader a value would be hundreds of thousands


def _calls(work: Any) -> int:
    """How often Python functions are called: what a body's reading costs, whatever the machine does beside it."""
    import sys

    count = 0

    def counts(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counts)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("value", [b"[" + b"[]," * 1_000_000 + b"1]", b'["a"' + b',"a"' * 1_000_000 + b"]"])
@pytest.mark.parametrize("field", ["messages", "stop", "tools", "chat_template_kwargs", "no_such_field"])
def test_more_values_than_a_request_needs_are_refused_before_they_are_built(field: str, value: bytes) -> None:
    body = b'{"model": "small", "%s": %s}' % (field.encode(), value)

    def refused() -> None:
        with pytest.raises(ApiError, match=f"more than {MAX_VALUES} values"):
            parse(ChatRequest, body)

    assert _calls(refused) < 1000


def test_levels_without_end_are_refused_and_scanned_a_few_times_only() -> None:
    deep = b'{"messages": ' + b"[" * 100 + b'"' + b"x" * 4_000_000 + b'"' + b"]" * 100 + b"}"
    with pytest.raises(ApiError, match=f"more than {MAX_DEPTH} levels"):
        read_object(deep, frozenset())


def test_prompts_of_token_ids_are_no_values_to_count() -> None:
    ids = list(range(100_000))
    assert parse(CompletionRequest, json.dumps({"model": "small", "prompt": [ids, ids]}).encode()).prompt == [ids, ids]
