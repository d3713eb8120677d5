"""Any text: the readers never fail, their parts do not depend on the split, and their time is linear."""

import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reading.fixtures import cases
from benchmarks.reading.random_inputs import MARKERS, TOOLS, RandomInput, broken_promise, try_inputs
from weightwarden.logger.sidecar.reading.families import FAMILIES
from weightwarden.logger.sidecar.reading.reader import reader_of


def test_random_inputs_break_no_promise() -> None:
    broken, _, _, called = try_inputs(cases()[0], 3_000, seed=11)
    assert broken == []
    assert called > 300


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    reasoning=st.sampled_from([None, "think", "mistral", "harmony"]),
    whole_calls=st.booleans(),
    prompt=st.sampled_from(["", "<think>"]),
    data=st.data(),
    seed=st.integers(0, 2**32),
)
def test_the_parts_do_not_depend_on_the_split(
    family: str, reasoning: str | None, whole_calls: bool, prompt: str, data: st.DataObject, seed: int
) -> None:
    texts = st.sampled_from([*MARKERS[family], '"', "{", "}", "f", "a", ":", ",", "</think>"]) | st.text(max_size=3)
    text = "".join(data.draw(st.lists(texts, max_size=30)))
    one = RandomInput(text, family, reasoning, prompt, whole_calls)
    assert broken_promise(one, one.parts([one.text]), Random(seed)) is None


BIG = '{"a": "' + "x y </parameter> \\n" * 5_000 + '"}'
HOSTILE = {
    "hermes": [
        f'<tool_call>{{"name": "f", "arguments": {BIG}}}',
        f'<tool_call>{{"arguments": {BIG}, "name": "f"}}',
        "<tool_call>" * 10_000,
        '<tool_call>{"name": "f' * 5_000,
        '<tool_call>{"name":"f","arguments":{"a":' + "[" * 90_000,
        '<tool_call>{"arguments":' + '{"a":' * 20_000,
        " " * 100_000,
        "<" * 100_000,
    ],
    "llama3_json": ['{"name": "f", "parameters": {}};' * 4_000, "<|python_tag|>{" * 6_000],
    "mistral": [
        "[TOOL_CALLS]" * 9_000,
        "[TOOL_CALLS]f[ARGS]{}" * 5_000,
        "[TOOL_CALLS] [" + '{"name": "f", "arguments": {}},' * 4_000,
    ],
    "qwen3_coder": [
        "<function=f><parameter=a>" + "x </parameter>" * 8_000,
        "<function=f><parameter=n>" + "x </parameter>\n" * 8_000 + "</function>",
        "<function=f>" * 9_000,
    ],
    "glm": ["<tool_call>f<arg_key>" * 5_000, "<tool_call>f<arg_key>a</arg_key><arg_value>" + "</arg_value> " * 9_000],
    "deepseek_v31": ["<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>" * 3_000],
    "deepseek_v32": ["<｜DSML｜function_calls>" * 5_000, '<｜DSML｜function_calls><｜DSML｜invoke name="f"/>' * 3_000],
    "kimi_k2": ["<|tool_calls_section_begin|><|tool_call_begin|>" * 2_500],
    "harmony": ["<|channel|>" * 9_000, "<|channel|>final " * 6_000, "<|start|>assistant" * 6_000],
}
"""Texts of some hundred thousand characters that make a careless reader quadratic: it would take minutes."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [2, 10**9])
def test_the_time_is_linear_whatever_the_text(family: str, length: int) -> None:
    for text in HOSTILE[family]:
        for whole_calls in (False, True):
            reader = reader_of(family, "think", TOOLS, whole_calls=whole_calls)
            begun = time.process_time()
            for at in range(0, len(text), length):
                reader.add(text[at : at + length])
            reader.end()
            assert time.process_time() - begun < 5, text[:40]
