"""Progress through a JSON value: what it accepts, and where a value ends, however the text is split."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.sidecar.reading.json_value import JsonValue

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
CUTS = st.lists(st.integers(0, 400), max_size=6)
SOUP = st.text(st.sampled_from('{}[]":,\\ 0123456789.eE+-truefalsn\n\tub/é\x00'), max_size=12)


def feed(text: str, cuts: list[int]) -> tuple[JsonValue, int]:
    """The progress through the text in pieces, and the number of characters that belong to the value."""
    value = JsonValue()
    at = 0
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True):
        piece = text[begin:end]
        used = value.feed(piece)
        at += used
        if used < len(piece):
            return value, at
    value.end()
    return value, at


def is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=lambda name: pytest.fail(name) if name in text else None)
    except ValueError:
        return False
    return not any(name in text for name in ("NaN", "Infinity"))


@given(VALUES, st.booleans(), CUTS, st.sampled_from(["}", " ", ",", "</tool_call>", '"', "a"]))
def test_a_value_ends_where_json_says(value: object, spaces: bool, cuts: list[int], after: str) -> None:
    text = json.dumps(value, ensure_ascii=spaces, indent=2 if spaces else None)
    progress, at = feed(text, cuts)
    assert (progress.done, progress.broken, at) == (True, False, len(text))
    progress, at = feed(text + after, cuts)
    assert (progress.done, at) == (True, len(text))


@given(SOUP, CUTS)
def test_exactly_the_texts_that_are_json_are_complete(text: str, cuts: list[int]) -> None:
    progress, at = feed(text, cuts)
    complete = progress.done and not text[at:].strip(" \t\r\n")
    assert complete == is_json(text)


@given(SOUP)
def test_a_text_is_broken_where_no_continuation_is_json(text: str) -> None:
    whole, at = feed(text, [])
    if whole.broken:
        for end in ("", "0", '"', "]", "}", '"}', "e", "rue", '":0}', "0000"):
            assert not is_json(text[: at + 1] + end)


@pytest.mark.parametrize(
    "text", ["01", "+1", ".5", "1.", "1e", "--1", "tru", "nul", "NaN", "'a'", '"\\x"', '"\n"', "[1,]", "{1:2}"]
)
def test_what_json_forbids_is_not_complete(text: str) -> None:
    progress, at = feed(text, [])
    assert not progress.done or at < len(text)
