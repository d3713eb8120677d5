"""Whatever a grammar of calls admits is read as calls with valid arguments, in every family's own form."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.logger.sidecar.constraints.sampling import Sampler
from weightwarden.logger.sidecar.constraints.constraint import AnswerShape, Constraint, constraint_of
from weightwarden.logger.sidecar.constraints.envelopes import envelope_of
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.reading.families import FAMILIES
from weightwarden.logger.sidecar.reading.parts import CallArguments, CallBegin, ContentText, ReasoningText
from weightwarden.logger.sidecar.reading.reader import reader_of
from weightwarden.logger.sidecar.reading.reasoning import REASONING
from weightwarden.logger.sidecar.wire.requests import ChatRequest, parse

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["c", "f"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "options": {"$ref": "#/$defs/Options"},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
    "$defs": {
        "Options": {
            "type": "object",
            "properties": {"hourly": {"type": "array", "items": {"type": "boolean"}}},
            "required": ["hourly"],
            "additionalProperties": False,
        }
    },
}
NOW = {"type": "object", "properties": {}, "additionalProperties": False}
SCHEMAS = {"get_weather": WEATHER, "now": NOW}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}
    for name, schema in SCHEMAS.items()
]
FORMS = {
    **{name: (name, "", ()) for name in FAMILIES},
    "mistral v11": ("mistral", "[ARGS]", ("[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]")),
    "glm 4.5": ("glm", "\\n<arg_key>", ()),
    "kimi_k2 special": (
        "kimi_k2",
        "",
        (
            "<|tool_calls_section_begin|>",
            "<|tool_calls_section_end|>",
            "<|tool_call_begin|>",
            "<|tool_call_end|>",
            "<|tool_call_argument_begin|>",
        ),
    ),
    "deepseek_v32 special": ("deepseek_v32", "", ("｜DSML｜",)),
    "harmony special": (
        "harmony",
        "",
        ("<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|constrain|>", "<|call|>"),
    ),
}
"""Families with their versions: family, words of the template, and markers that are special tokens."""
JSON_ENDS = ('"', "}", "]", "0", "c", "null", "{")
ENDS = {
    "qwen3_coder": ("\n</parameter>\n", "</function>", "</tool_call>", "</parameter>", "0", "null", '"c"'),
    "glm": ("</arg_value>", "</tool_call>", "\n", "0", "true", "<arg_key>city</arg_key>", "]"),
    "deepseek_v32": ("</｜DSML｜parameter>\n", "</｜DSML｜function_calls>", "</｜DSML｜invoke>\n", "0", "]", "true"),
}
"""Texts that end parts of an answer, by family; some of them inside others."""
REASONING_ENDS = ("</think>", "[/THINK]", "<|end|><|start|>assistant")
TRIGGERS = {"harmony": "<|channel|>commentary to=functions.", "llama3_json": '{"name": "'}
ROUNDS = 3


@pytest.fixture(scope="module")
def sampler_of(model_folder: Path) -> Callable[[tuple[str, ...]], Sampler]:
    made: dict[tuple[str, ...], Sampler] = {}

    def sampler(special: tuple[str, ...]) -> Sampler:
        if special not in made:
            made[special] = Sampler.of(model_folder, special)
        return made[special]

    return sampler


def request(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": TOOLS, **fields}
    made: ChatRequest = parse(ChatRequest, json.dumps(body).encode())
    return made


def shape_of(form: str, sampler: Sampler, *, reasons: bool = True) -> AnswerShape:
    family, template, _ = FORMS[form]
    name = {"harmony": "harmony", "mistral": "mistral"}.get(family, "think")
    return AnswerShape(
        family=family,
        envelope=envelope_of(family, template),
        reasoning=REASONING[name] if reasons else None,
        special_ids=sampler.special_ids,
    )


Read = tuple[str, str, list[tuple[str, str]]]


def read(shape: AnswerShape, pieces: Sequence[str], tools: Sequence[Mapping[str, Any]], prompt: str) -> Read:
    """Reasoning, content and calls."""
    reader = reader_of(shape.family, None if shape.reasoning is None else shape.reasoning.name, tools, prompt)
    reasoning, content, calls = "", "", list[tuple[str, str]]()
    for part in [part for piece in pieces for part in reader.add(piece)] + reader.end():
        match part:
            case ReasoningText(text):
                reasoning += text
            case ContentText(text):
                content += text
            case CallBegin():
                calls.append((part.name, ""))
            case CallArguments(at, text):
                calls[at] = (calls[at][0], calls[at][1] + text)
    return reasoning, content, calls


def prompts_of(shape: AnswerShape) -> list[str]:
    """Ends of prompts that leave the reasoning open, closed, and to the model."""
    if shape.reasoning is None or shape.is_harmony:
        return [""]
    return ["", f"{shape.reasoning.start}\n", f"{shape.reasoning.end}\n\n"]


def check_valid(calls: Sequence[tuple[str, str]], schemas: Mapping[str, Any]) -> None:
    for name, arguments in calls:
        jsonschema.validate(json.loads(arguments), schemas[name])


def sampled(
    sampler: Sampler, shape: AnswerShape, constraint: Constraint, prompt: str, seed: int, first: str = ""
) -> tuple[str, Read]:
    assert shape.family is not None
    ends = (*ENDS.get(shape.family, ()), *JSON_ENDS, *REASONING_ENDS)
    pieces = sampler.pieces(constraint, random.Random(seed), ends=ends, first=first)
    return "".join(pieces), read(shape, pieces, TOOLS, prompt)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("choice", ["required", "named", "one"])
def test_forced_calls_are_read_as_calls_that_follow_their_schemas(
    sampler_of: Callable[[tuple[str, ...]], Sampler], form: str, choice: str
) -> None:
    sampler = sampler_of(FORMS[form][2])
    shape = shape_of(form, sampler)
    asked = {
        "required": request(tool_choice="required"),
        "named": request(tool_choice={"type": "function", "function": {"name": "get_weather"}}),
        "one": request(tool_choice="required", parallel_tool_calls=False),
    }[choice]
    counts = set()
    for prompt in prompts_of(shape):
        constraint = constraint_of(asked, shape, prompt)
        assert constraint is not None
        assert constraint.kind == "grammar"
        for seed in range(ROUNDS):
            text, (_, content, calls) = sampled(sampler, shape, constraint, prompt, seed)
            assert content == "", text
            assert calls, text
            check_valid(calls, SCHEMAS)
            if choice == "named":
                assert {name for name, _ in calls} == {"get_weather"}
            counts.add(len(calls))
    if choice != "required" or shape.is_harmony or shape.envelope is None or shape.envelope.again is None:
        assert counts == {1}


@pytest.mark.parametrize("form", FORMS)
def test_strict_tools_leave_the_choice_and_every_call_follows_its_schema(
    sampler_of: Callable[[tuple[str, ...]], Sampler], form: str
) -> None:
    sampler = sampler_of(FORMS[form][2])
    shape = shape_of(form, sampler)
    family = FORMS[form][0]
    trigger = TRIGGERS.get(family) or (shape.envelope.trigger if shape.envelope else "")
    for prompt in prompts_of(shape):
        constraint = constraint_of(request(), shape, prompt)
        assert constraint is not None
        assert constraint.field == "tools"
        thought = "So.</think>" if prompt.startswith("<think>") else "So.[/THINK]" if "[THINK]" in prompt else ""
        for seed in range(ROUNDS):
            first = thought + ("" if family in TRIGGERS else "Let me see: ") + trigger
            text, (_, content, calls) = sampled(sampler, shape, constraint, prompt, seed, first)
            assert calls, text
            assert content.strip() in ("", "Let me see:"), text
            check_valid(calls, SCHEMAS)
            _, (_, _, calls) = sampled(sampler, shape, constraint, prompt, seed)
            check_valid(calls, SCHEMAS)


@pytest.mark.parametrize("form", FORMS)
def test_a_format_beside_tools_leaves_both(sampler_of: Callable[[tuple[str, ...]], Sampler], form: str) -> None:
    sampler = sampler_of(FORMS[form][2])
    shape = shape_of(form, sampler)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    asked = request(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})
    if shape.envelope is not None and not shape.envelope.trigger:
        with pytest.raises(ApiError, match="cannot go with tools"):
            constraint_of(asked, shape, "")
        return
    for prompt in prompts_of(shape):
        constraint = constraint_of(asked, shape, prompt)
        assert constraint is not None
        assert constraint.field == "response_format"
        for seed in range(ROUNDS):
            text, (_, content, calls) = sampled(sampler, shape, constraint, prompt, seed)
            assert bool(calls) != bool(content), text
            check_valid(calls, SCHEMAS)
            if content:
                jsonschema.validate(json.loads(content), schema)
