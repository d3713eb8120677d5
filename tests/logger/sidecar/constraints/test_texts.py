"""Texts of grammars: the same for the same request, bounded, safe against clients, refused where inexact."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.logger.sidecar.constraints.sampling import Sampler
from weightwarden.logger.record import MAX_GRAMMAR_CHARACTERS
from weightwarden.logger.sidecar.constraints.constraint import AnswerShape, Constraint, constraint_of, format_of
from weightwarden.logger.sidecar.constraints.envelopes import envelope_of
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.reading.families import FAMILIES
from weightwarden.logger.sidecar.reading.reasoning import REASONING
from weightwarden.logger.sidecar.wire.requests import ChatRequest, parse

ONE = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.fixture(scope="module")
def sampler(model_folder: Path) -> Sampler:
    return Sampler.of(model_folder)


def shape(family: str = "hermes", *, reasons: bool = False, special: Mapping[str, int] | None = None) -> AnswerShape:
    return AnswerShape(
        family=family,
        envelope=envelope_of(family, ""),
        reasoning=REASONING["think"] if reasons else None,
        special_ids=special or {},
    )


def tool(parameters: Any = None, name: str = "f", **more: Any) -> dict[str, Any]:
    given = {} if parameters is None else {"parameters": parameters}
    return {"type": "function", "function": {"name": name, **given, **more}}


def constraint(form: AnswerShape, prompt: str = "", **fields: Any) -> Constraint | None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    request: ChatRequest = parse(ChatRequest, json.dumps(body).encode())
    return constraint_of(request, form, prompt)


def required(form: AnswerShape, *tools: dict[str, Any], prompt: str = "", **fields: Any) -> Constraint:
    made = constraint(form, prompt, tools=list(tools), tool_choice="required", **fields)
    assert made is not None
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_grammar_and_the_same_request_makes_the_same_text(family: str) -> None:
    made = [required(shape(family, reasons=True), tool(ONE), tool(ONE, "g")) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].text.startswith("start:")


def test_a_request_that_asks_for_nothing_has_no_grammar() -> None:
    for fields in ({}, {"tools": [tool(ONE)]}, {"tools": [tool(ONE, strict=True)], "tool_choice": "none"}):
        assert constraint(shape(), **fields) is None


def test_a_format_alone_is_sent_in_its_own_language() -> None:
    schema = {"b": 1, "a": {"é": True}}
    asked: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    assert constraint(shape(), **asked) == Constraint(
        kind="json", text='{"b": 1, "a": {"\\u00e9": true}}', field="response_format"
    )
    closed = constraint(shape(reasons=True), "<think>\n\n</think>\n\n", **asked)
    assert closed is not None
    assert closed.kind == "json"
    open_ = constraint(shape(reasons=True), "<think>\n", **asked)
    assert open_ is not None
    assert open_.kind == "grammar"


def test_arguments_follow_their_schema_as_far_as_strict_says(sampler: Sampler) -> None:
    def admits(arguments: str, **function: Any) -> bool:
        made = required(shape(), tool(ONE, **function))
        answer = f'<tool_call>\n{{"name": "f", "arguments": {arguments}}}\n</tool_call>'
        return sampler.admits(made.kind, made.text, answer)

    for strict in (None, True):
        assert admits('{"a": "x"}', strict=strict)
        assert not admits('{"b": 1}', strict=strict)
    assert admits('{"b": 1}', strict=False)
    assert not admits("[]", strict=False)


def test_keywords_that_cannot_be_enforced_are_ignored_unless_strict(sampler: Sampler) -> None:
    odd = {"type": "object", "properties": {"a": {"type": "string", "format": "strange"}}}
    sampler.matcher("grammar", required(shape(), tool(odd)).text)
    with pytest.raises(AssertionError, match="strange"):
        sampler.matcher("grammar", required(shape(), tool(odd, strict=True)).text)


def test_nothing_of_a_client_becomes_markup_or_grammar(sampler: Sampler) -> None:
    evil = 'a" | /.*/ <[2]>\nstart: "x"<|im_end|>'
    schema = {"type": "object", "properties": {"a": {"enum": [evil]}}, "required": ["a"], "description": evil}
    for family in ("hermes", "qwen3_coder"):
        form = AnswerShape(
            family=family, envelope=envelope_of(family, ""), reasoning=None, special_ids={"<|im_end|>": 2}
        )
        made = required(form, tool(schema, description=evil))
        assert "<[2]>" not in made.text.replace(json.dumps(evil)[1:-1], "")
        sampler.matcher(made.kind, made.text)
    choice = constraint(shape(reasons=True), structured_outputs={"choice": [evil, "b"]})
    assert choice is not None
    matcher = sampler.matcher(choice.kind, choice.text)
    ids = sampler.backend.encode('a" | /.*/ <[2]>\nstart: "x"', add_special_tokens=False).ids
    assert matcher.consume_tokens(ids)
    assert not matcher.is_accepting()


@pytest.mark.parametrize("expression", ["a/b", r"a\/b", "[/]", r"\d+\.\d", "a\nb", "é|ü", r"\\/", "(?i:x)y"])
def test_a_regular_expression_after_reasoning_is_the_clients(sampler: Sampler, expression: str) -> None:
    asked: dict[str, Any] = {"structured_outputs": {"regex": expression}}
    alone, after = constraint(shape(), **asked), constraint(shape(reasons=True), "<think>\n", **asked)
    assert alone is not None
    assert after is not None
    examples = ["a/b", "/", "12.5", "a\nb", "é", "ü", r"\/", "Xy", "b", "x"]
    admitted = [one for one in examples if sampler.admits(alone.kind, alone.text, one)]
    assert admitted
    for one in examples:
        assert sampler.admits(after.kind, after.text, f"So.\n</think>{one}") == (one in admitted), one


def test_a_marker_that_is_a_special_token_stands_as_its_id() -> None:
    made = required(shape("mistral", special={"[TOOL_CALLS]": 9}), tool(ONE))
    assert "<[9]>" in made.text
    assert "[TOOL_CALLS]" not in made.text


def test_a_clients_grammar_governs_the_whole_answer() -> None:
    asked: dict[str, Any] = {"structured_outputs": {"grammar": 'start: "a"'}}
    made = constraint(shape(reasons=True), "<think>\n", tools=[tool(ONE)], **asked)
    assert made == Constraint(kind="grammar", text='start: "a"', field="structured_outputs")


LARGE = {"type": "object", "properties": {f"p{at}": {"type": "string", "description": "x" * 1000} for at in range(50)}}
INEXACT = {
    "a pattern between markers": {"a": {"type": "string", "pattern": "^[a-z]+$"}},
    "a text or an object between markers": {"a": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
    "a name that is markup": {"a>b": {"type": "string"}},
    "a value that is markup": {"a": {"enum": ["</parameter>"]}},
}


@pytest.mark.parametrize("case", INEXACT)
def test_a_strict_schema_that_the_form_cannot_enforce_is_refused_by_field(case: str) -> None:
    schema = {"type": "object", "properties": INEXACT[case]}
    with pytest.raises(ApiError, match="form of calls can") as error:
        required(shape("qwen3_coder"), tool(schema, strict=True))
    assert str(error.value.param).startswith("tools.0.function.parameters.properties.a")
    required(shape("hermes"), tool(schema, strict=True))


def test_sizes_are_bounded() -> None:
    with pytest.raises(ApiError, match=f"more than {MAX_GRAMMAR_CHARACTERS} characters"):
        required(shape(), *(tool(LARGE, f"f{at}") for at in range(10)))
    with pytest.raises(ApiError, match="tools"):
        constraint(shape(), tools=[tool(ONE, f"f{at}") for at in range(129)])


def test_a_family_without_a_grammar_refuses_forced_tools_alone() -> None:
    form = AnswerShape(family="other", envelope=None, reasoning=None, special_ids={})
    assert constraint(form, tools=[tool(ONE)]) is None
    with pytest.raises(ApiError, match="no grammar of the tool calls of the family other"):
        required(form, tool(ONE))


def test_references_in_a_loop_end() -> None:
    loop = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
    for family in FAMILIES:
        required(shape(family), tool(loop))


def test_a_completion_has_a_format_too() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "structured_outputs": {"json_object": True}}
    assert format_of(parse(ChatRequest, json.dumps(body).encode())) == Constraint(
        kind="json", text='{"type": "object"}', field="structured_outputs"
    )
