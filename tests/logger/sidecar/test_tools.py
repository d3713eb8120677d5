"""Tools, reasoning and structured output in chats: what clients get, what the server is sent, and what is on record."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.logger.sidecar.running import Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import EOS, HEAD, Upstream, event, sends
from tests.logger.sidecar.weather import TEMPLATE, WEATHER, weather_call

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
STRICT = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER, "strict": True}}]
NAMED = {"type": "function", "function": {"name": "get_weather"}}
ARGUMENTS = '{"city": "Zürich"}'
CALL = weather_call(ARGUMENTS)
THINKS: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": WEATHER, "strict": False}}


def answers(upstream: Upstream, tokenizer: Tokenizer, text: str) -> None:
    """Let the server answer with this text."""
    ids = [*tokenizer.encode(text).ids, EOS]
    upstream.answer = sends(HEAD, *(event([one]) for one in ids[:-1]), event([EOS], "stop"))
    upstream.asked.clear()


def message_of(sidecar: Sidecar, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The one choice of an answer, and its message."""
    response = sidecar.chat(**more)
    assert response.status_code == 200, response.text
    [choice] = response.json()["choices"]
    return choice, choice["message"]


def test_a_call_is_read_from_the_models_own_text(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    answers(shared_upstream, tokenizer, f"Let me see.\n{CALL}\n{CALL}")
    choice, message = message_of(calling, tools=TOOLS)
    assert choice["finish_reason"] == "tool_calls"
    assert message["content"] == "Let me see."
    assert [call["function"] for call in message["tool_calls"]] == [{"name": "get_weather", "arguments": ARGUMENTS}] * 2
    assert len({call["id"] for call in message["tool_calls"]}) == 2
    [asked] = shared_upstream.asked
    assert "structured_outputs" not in asked
    assert "<tools>" in tokenizer.decode(asked["prompt"])
    record = calling.records()[-1]
    assert record.sampling.skip_special_tokens is False
    assert record.grammar is None


def test_a_streamed_call_is_the_whole_one_in_pieces(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    answers(shared_upstream, tokenizer, f"Let me see.\n{CALL}")
    events = events_of(calling.chat(tools=TOOLS, stream=True).text)
    assert events.pop() == "[DONE]"
    deltas = [one["choices"][0]["delta"] for one in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Let me see."
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [call["function"].get("name") for call in calls if "name" in call["function"]] == ["get_weather"]
    assert "".join(call["function"].get("arguments", "") for call in calls) == ARGUMENTS
    assert len(calls) > 3


def test_a_result_goes_back_to_the_model(calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer) -> None:
    answers(shared_upstream, tokenizer, "Sunny.")
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}, "index": 0}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sun"}]},
    ]
    body = {"model": "small", "messages": messages, "tools": TOOLS}
    response = calling.client.post("/v1/chat/completions", json=body)
    assert response.json()["choices"][0]["message"]["content"] == "Sunny."
    prompt = tokenizer.decode(shared_upstream.asked[0]["prompt"], skip_special_tokens=False)
    assert f"<|im_start|>assistant\n{CALL}<|im_end|>" in prompt
    assert "<tool_response>\nsun\n</tool_response>" in prompt


def test_forced_and_strict_calls_have_a_grammar_which_is_on_record(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    for asked, finish in (
        ({"tools": TOOLS, "tool_choice": "required"}, "tool_calls"),
        ({"tools": TOOLS, "tool_choice": NAMED}, "stop"),
        ({"tools": STRICT}, "tool_calls"),
        ({"tools": TOOLS, "parallel_tool_calls": False}, "tool_calls"),
    ):
        answers(shared_upstream, tokenizer, CALL)
        choice, message = message_of(calling, **asked)
        assert (choice["finish_reason"], message["content"]) == (finish, None)
        assert len(message["tool_calls"]) == 1
        [sent] = shared_upstream.asked
        grammar = calling.records()[-1].grammar
        assert grammar is not None
        assert sent["structured_outputs"] == {"grammar": grammar.text}
        assert (grammar.kind, grammar.backend, grammar.version) == ("grammar", "guidance", "1.7.6")


def test_tool_choice_none_shows_tools_and_reads_no_calls(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    answers(shared_upstream, tokenizer, CALL)
    choice, message = message_of(calling, tools=STRICT, tool_choice="none")
    assert (choice["finish_reason"], message["content"]) == ("stop", CALL)
    assert "<tools>" in tokenizer.decode(shared_upstream.asked[0]["prompt"])
    assert calling.records()[-1].grammar is None


def test_reasoning_is_apart_and_its_tokens_are_counted(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    answers(shared_upstream, tokenizer, "One, two.\n</think>\n\nThree.")
    response = calling.chat(**THINKS).json()
    message = response["choices"][0]["message"]
    assert (message["reasoning"], message["content"]) == ("One, two.", "Three.")
    assert "reasoning_content" not in message
    assert (
        4 < response["usage"]["completion_tokens_details"]["reasoning_tokens"] < response["usage"]["completion_tokens"]
    )
    answers(shared_upstream, tokenizer, "One, two.\n</think>\n\nThree.")
    _, message = message_of(calling, include_reasoning=False, **THINKS)
    assert ("reasoning" in message, message["content"]) == (False, "Three.")


def test_stop_strings_do_not_match_inside_reasoning(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    answers(shared_upstream, tokenizer, "One stop two.\n</think>\n\nThree stop four.")
    _, message = message_of(calling, stop=["stop"], **THINKS)
    assert (message["reasoning"], message["content"]) == ("One stop two.", "Three ")
    reasoning = calling.records()[-1].reasoning
    assert reasoning is not None
    assert (reasoning.start, reasoning.end, reasoning.stops_inside) == ("", "</think>", False)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"response_format": {"type": "json_object"}}, {"json": '{"type": "object"}'}),
        ({"response_format": JSON_SCHEMA}, {"json": json.dumps(WEATHER)}),
        ({"structured_outputs": {"json": json.dumps(WEATHER)}}, {"json": json.dumps(WEATHER)}),
        ({"structured_outputs": {"regex": "[a-z]+/é"}}, {"regex": "[a-z]+/é"}),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, {"choice": ["yes", "no"]}),
        ({"structured_outputs": {"grammar": 'start: "a"'}}, {"grammar": 'start: "a"'}),
        ({"structured_outputs": {"json_object": True}}, {"json": '{"type": "object"}'}),
    ],
)
def test_a_format_is_sent_as_it_is_on_record(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    closed = {"messages": [{"role": "user", "content": "a"}]}
    answers(shared_upstream, tokenizer, "yes")
    body = {"model": "small", "prompt": "a", **asked}
    assert calling.client.post("/v1/completions", json=body).status_code == 200
    assert shared_upstream.asked[0]["structured_outputs"] == sent
    [(kind, text)] = sent.items()
    grammar = calling.records()[-1].grammar
    assert grammar is not None
    assert (grammar.kind, grammar.text) == (kind, text if isinstance(text, str) else json.dumps(text))
    answers(shared_upstream, tokenizer, "yes")
    assert calling.client.post("/v1/chat/completions", json={"model": "small", **closed, **asked}).status_code == 200
    text = shared_upstream.asked[0]["structured_outputs"]["grammar"]
    assert text == sent.get("grammar") or "<think>" in text  # the reasoning belongs to the grammar


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a format beside ignore_eos": ({"response_format": JSON_SCHEMA, "ignore_eos": True}, "ignore_eos", "cannot go"),
    "a forced tool beside min_tokens": (
        {"tools": TOOLS, "tool_choice": "required", "min_tokens": 2},
        "min_tokens",
        "cannot go with a grammar",
    ),
    "a format beside a budget": (
        {"response_format": JSON_SCHEMA, "thinking_token_budget": 5},
        "thinking_token_budget",
        "cannot go with structured output",
    ),
    "two formats": (
        {"response_format": JSON_SCHEMA, "structured_outputs": {"regex": "a"}},
        "structured_outputs",
        "exclude each other",
    ),
    "a format of vLLM's beside a forced tool": (
        {"structured_outputs": {"regex": "a"}, "tools": TOOLS, "tool_choice": "required"},
        "structured_outputs",
        "cannot go with a forced tool",
    ),
    "a name of no tool": (
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
        "tool_choice",
        "no tool has this name",
    ),
    "a choice without tools": ({"tool_choice": "required"}, "tool_choice", "not served without tools"),
    "parameters of no object": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}, "strict": True}}]},
        "tools.0.function.parameters.type",
        "not the schema of an object",
    ),
    "a schema that cannot be compiled": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "strange"}}}},
        "response_format",
        "strange",
    ),
    "a regular expression that is none": ({"structured_outputs": {"regex": "("}}, "structured_outputs", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_constrained_is_refused_by_field(calling: Sidecar, case: str) -> None:
    asked, field, why = REFUSED[case]
    before = len(calling.records())
    response = calling.chat(**asked)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == field
    assert why in error["message"]
    assert len(calling.records()) == before


def test_without_a_known_form_or_backend_the_reason_names_the_option(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    plain = settings_in(tmp_path, model_folder, shared_upstream.url)
    with running(plain) as sidecar:
        for asked, option in (
            ({"tools": TOOLS}, "--tool-parser"),
            ({"thinking_token_budget": 5}, "--reasoning-parser"),
            ({"response_format": JSON_SCHEMA}, "--grammar-backend"),
        ):
            response = sidecar.chat(**asked)
            assert response.status_code == 400
            assert option in response.json()["error"]["message"]
        answers(shared_upstream, tokenizer, CALL)
        assert message_of(sidecar, tools=TOOLS, tool_choice="none")[1]["content"] == CALL


def test_the_operator_names_the_forms(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    settings = settings_in(
        tmp_path,
        model_folder,
        shared_upstream.url,
        chat_template=TEMPLATE,
        tool_parser="none",
        reasoning_parser="think",
        reasoning_content=True,
        stops_in_reasoning=True,
    )
    with running(settings) as sidecar:
        assert sidecar.chat(tools=TOOLS).status_code == 400
        answers(shared_upstream, tokenizer, "One stop two.\n</think>\n\nThree.")
        _, message = message_of(sidecar, stop=["stop"], **THINKS)
        assert (message["reasoning"], message["reasoning_content"]) == ("One", "One")
        assert sidecar.records()[-1].reasoning is None
