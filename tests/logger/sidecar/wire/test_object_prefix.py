import json
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jiter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.sidecar.wire.messages_api.object_prefix import MAX_DEPTH, ObjectPrefix

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


def read(text: str, splits: Sequence[int] = ()) -> tuple[ObjectPrefix, str]:
    prefix = ObjectPrefix()
    ends = sorted({0, len(text), *(split % (len(text) + 1) for split in splits)})
    return prefix, "".join(prefix.add(text[a:b]) for a, b in pairwise(ends))


@given(OBJECTS, st.integers(0, 2**20), st.lists(st.integers(0, 2**20), max_size=4), st.booleans())
def test_what_is_closed_is_what_the_clients_parser_makes_of_every_beginning(
    value: dict[str, Any], cut: int, splits: list[int], ascii_only: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    begun = text[: cut % (len(text) + 1)]
    prefix, taken = read(begun, splits)
    assert taken == begun
    assert not prefix.fault
    assert prefix.complete == (begun in ("", text))
    expected = jiter.from_json(begun.encode(), partial_mode=True) if begun else {}
    assert jiter.from_json(prefix.closed().encode()) == expected


@pytest.mark.parametrize("seed", range(100))
def test_a_fault_ends_the_object_and_what_came_before_it_still_is_a_beginning(seed: int) -> None:
    draw = random.Random(seed)
    text = list(json.dumps({"a": [1, -2.5e3, "x\\n\u20ac", True, None], "b": {"c": {}, "d": []}, "e": "\\u00e9"}))
    for _ in range(draw.randint(1, 3)):
        text[draw.randrange(len(text))] = draw.choice('{}[]",:0123456789.eE+-\\utrfnl \n\x01\u00e9')
    broken = "".join(text)
    prefix, taken = read(broken, [draw.randrange(200) for _ in range(5)])
    assert broken.lstrip().startswith(taken)
    try:
        whole = json.loads(broken, parse_constant=lambda _: [][0])
    except (ValueError, IndexError):
        whole = None
    assert prefix.complete == isinstance(whole, dict)
    if taken:
        assert jiter.from_json(taken.encode(), partial_mode=True) == json.loads(prefix.closed())
    if whole is not None:
        assert json.loads(prefix.closed()) == whole


def test_white_space_around_an_object_is_left_out_and_text_after_it_is_a_fault() -> None:
    assert read(' \n{"a": 1 } \n', [1])[1] == '{"a": 1 }'
    assert read("  ")[0].complete
    prefix, taken = read('{"a": 1} and more', [3])
    assert (prefix.fault, prefix.complete, taken, prefix.closed()) == (True, False, '{"a": 1}', '{"a": 1}')


@pytest.mark.parametrize("text", ["[1]", '"x"', "7", "null", "x", "'a'", "}"])
def test_what_is_no_object_is_an_empty_one_and_not_complete(text: str) -> None:
    prefix, taken = read(text)
    assert (prefix.complete, taken, prefix.closed()) == (False, "", "{}")


def test_nesting_without_end_is_cut_at_a_depth_that_clients_parse() -> None:
    prefix, taken = read('{"a":' + "[" * 100_000)
    assert prefix.fault
    assert taken.count("[") == MAX_DEPTH - 1
    assert jiter.from_json(taken.encode(), partial_mode=True) == json.loads(prefix.closed())
