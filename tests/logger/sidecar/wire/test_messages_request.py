"""Requests as Anthropic's documentation of the Messages API shows them, and the chats that they become."""

import json
from typing import Any

import pytest

from weightwarden.logger.sidecar.errors import ApiError, invalid
from weightwarden.logger.sidecar.wire.messages_api.request import (
    MESSAGES_FIELDS,
    CountTokensRequest,
    MessagesRequest,
)
from weightwarden.logger.sidecar.wire.requests import parse

WEATHER_SCHEMA = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["location"],
}
WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather in a given location",
    "input_schema": WEATHER_SCHEMA,
}
CHAT_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a given location",
        "parameters": WEATHER_SCHEMA,
    },
}
EPHEMERAL = {"type": "ephemeral"}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def use(identifier: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": identifier, "name": "get_weather", "input": arguments}


def result(identifier: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identifier, **more}


def chat(kind: type[CountTokensRequest] = MessagesRequest, **body: Any) -> dict[str, Any]:
    """The fields of the chat that a request becomes."""
    given = {"model": "small", "messages": [user("Hello, Claude")], **body}
    if kind is MessagesRequest:
        given = {"max_tokens": 2048, **given}
    request = parse(kind, json.dumps(given).encode())
    made: dict[str, Any] = request.chat().model_dump(exclude_unset=True, by_alias=True)
    return made


def messages(*given: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = chat(messages=list(given), **body)["messages"]
    return made


def refused(**body: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        chat(**body)
    assert caught.value.status == 400
    return caught.value


def test_a_basic_request_is_a_chat() -> None:
    assert chat() == {"model": "small", "messages": [user("Hello, Claude")], "max_tokens": 2048}


def test_messages_of_text_and_of_text_blocks_are_the_same() -> None:
    turns = [user("Hello there."), assistant("Hi, I'm Claude."), user("Explain LLMs.")]
    blocks = [{**turn, "content": [text(turn["content"], cache_control=EPHEMERAL)]} for turn in turns]
    assert messages(*turns) == messages(*blocks) == turns


def test_the_system_prompt_is_the_first_message() -> None:
    assert messages(user("a"), system="Be brief.")[0] == {"role": "system", "content": "Be brief."}
    blocks = [text("Be brief."), text("The book: ...", cache_control=EPHEMERAL)]
    expected = {"role": "system", "content": [text("Be brief."), text("The book: ...")]}
    assert messages(user("a"), system=blocks)[0] == expected
    inline = {"role": "system", "content": [text("Reminder.")]}
    assert messages(user("a"), inline, user("b"))[1] == {"role": "system", "content": "Reminder."}


def test_an_answer_that_is_begun_goes_on() -> None:
    begun = chat(messages=[user("Sun? (A) Sol (B) Helios"), assistant("The answer is (")])
    assert begun["messages"][-1] == assistant("The answer is (")
    assert (begun["continue_final_message"], begun["add_generation_prompt"]) == (True, False)


def test_calls_and_their_results_become_messages_of_the_assistant_and_of_tools() -> None:
    made = messages(
        user("What's the weather like in San Francisco?"),
        assistant(
            [
                {"type": "thinking", "thinking": "I should", "signature": "weightwarden"},
                {"type": "redacted_thinking", "data": "abc"},
                {"type": "thinking", "thinking": " look.", "signature": ""},
                text("I'll check the current weather."),
                use("toolu_01", location="San Francisco, CA", unit=None),
                use("toolu_02", location="Köln"),
            ]
        ),
        user(
            [
                result("toolu_01", content="15 degrees"),
                result("toolu_02", content=[text("rain"), text("wind")], is_error=False, cache_control=EPHEMERAL),
                text("And tomorrow?"),
            ]
        ),
    )
    function = {"name": "get_weather", "arguments": '{"location": "San Francisco, CA", "unit": null}'}
    assert made[1:] == [
        {
            "role": "assistant",
            "content": "I'll check the current weather.",
            "reasoning": "I should look.",
            "tool_calls": [
                {"id": "toolu_01", "type": "function", "function": function},
                {
                    "id": "toolu_02",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"location": "Köln"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_01", "content": "15 degrees"},
        {"role": "tool", "tool_call_id": "toolu_02", "content": [text("rain"), text("wind")]},
        user("And tomorrow?"),
    ]


def test_results_keep_their_place_among_texts_and_may_be_empty_or_errors() -> None:
    made = messages(
        user([text("a"), text("b"), result("1"), text("c"), result("2", content="Failed.", is_error=True)]),
    )
    assert made == [
        user([text("a"), text("b")]),
        {"role": "tool", "tool_call_id": "1", "content": ""},
        user("c"),
        {"role": "tool", "tool_call_id": "2", "content": "Failed."},
    ]
    assert messages(user([]), assistant([use("1")]), user([result("1", content=[])])) == [
        user([]),
        {**assistant(None), "tool_calls": [_call("1")]},
        {"role": "tool", "tool_call_id": "1", "content": []},
    ]


def _call(identifier: str) -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}


def test_tools_are_functions_of_a_chat() -> None:
    assert chat(tools=[WEATHER])["tools"] == [CHAT_WEATHER]
    custom = {**WEATHER, "type": "custom", "cache_control": EPHEMERAL, "eager_input_streaming": True}
    assert chat(tools=[custom])["tools"] == [CHAT_WEATHER]
    assert chat(tools=[{**WEATHER, "strict": True}])["tools"][0]["function"]["strict"] is True
    bare = chat(tools=[{"name": "get_time", "input_schema": {"properties": {}}}])["tools"]
    function = {"name": "get_time", "parameters": {"type": "object", "properties": {}}}
    assert bare == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_choices_among_tools_are_a_chats(choice: dict[str, Any], expected: Any) -> None:
    made = chat(tools=[WEATHER], tool_choice=choice)
    assert made["tool_choice"] == expected
    assert "parallel_tool_calls" not in made
    for serial in (True, False):
        made = chat(tools=[WEATHER], tool_choice={**choice, "disable_parallel_tool_use": serial})
        assert made.get("parallel_tool_calls") is (False if serial else None)


def test_thinking_is_a_budget_or_an_effort_of_a_chat() -> None:
    enabled = {"type": "enabled", "budget_tokens": 1024}
    made = chat(thinking=enabled)
    assert (made["thinking_token_budget"], made["chat_template_kwargs"]) == (1024, {"enable_thinking": True})
    kept = {"enable_thinking": False, "a": 1}
    assert chat(thinking=enabled, chat_template_kwargs=kept)["chat_template_kwargs"] == kept
    assert refused(thinking=enabled, chat_template_kwargs=5).param == "chat_template_kwargs"
    assert chat(thinking={"type": "disabled"})["reasoning_effort"] == "none"
    assert chat(thinking={"type": "disabled"}, output_config={"effort": "high"})["reasoning_effort"] == "none"
    assert chat(thinking={"type": "adaptive", "display": "summarized"}) == chat()
    assert chat(thinking={"type": "adaptive"}, output_config={"effort": "low"})["reasoning_effort"] == "low"


def test_an_output_format_is_a_chats_response_format() -> None:
    made = chat(output_config={"format": {"type": "json_schema", "schema": WEATHER_SCHEMA}})["response_format"]
    assert made == {"type": "json_schema", "json_schema": {"name": "output", "schema": WEATHER_SCHEMA}}
    assert "response_format" not in chat(output_config={"format": None})


def test_sampling_has_its_names_in_a_chat() -> None:
    made = chat(stop_sequences=["END"], temperature=0.5, top_p=0.9, top_k=40.0, seed=7, stream=True, min_p=0.1)
    expected = {"stop": ["END"], "temperature": 0.5, "top_p": 0.9, "top_k": 40, "seed": 7, "stream": True, "min_p": 0.1}
    assert made == chat() | expected


def test_what_has_no_effect_is_accepted() -> None:
    neutral: dict[str, Any] = {
        "metadata": {"user_id": "13803d75-b4b5-4c3e-b2a2-6f21399b021b"},
        "service_tier": "standard_only",
        "cache_control": EPHEMERAL,
        "inference_geo": "eu",
        "speed": "standard",
        "diagnostics": {"previous_message_id": None},
        "container": None,
        "mcp_servers": [],
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "tools": [],
    }
    assert chat(**neutral)["messages"] == chat()["messages"]


@pytest.mark.parametrize("kind", [MessagesRequest, CountTokensRequest])
def test_a_count_is_of_the_prompt_of_the_same_request(kind: type[CountTokensRequest]) -> None:
    made = chat(
        kind,
        system="Be brief.",
        tools=[WEATHER],
        tool_choice={"type": "any"},
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert made["messages"] == [{"role": "system", "content": "Be brief."}, user("Hello, Claude")]
    assert made["tools"] == [CHAT_WEATHER]
    assert (made["tool_choice"], made["thinking_token_budget"]) == ("required", 1024)
    assert ("max_tokens" in made) is (kind is MessagesRequest)


@pytest.mark.parametrize(
    "kind",
    [
        *("web_search_20250305", "web_fetch_20250910", "code_execution_20250522", "bash_20250124"),
        *("text_editor_20250728", "computer_20250124", "memory_20250818", "tool_search_tool_regex_20251119"),
    ],
)
def test_server_tools_are_refused_by_name(kind: str) -> None:
    error = refused(tools=[WEATHER, {"type": kind, "name": "x"}])
    assert (error.param, error.message) == ("tools.1.type", f"tools.1.type: {kind} is not served, only custom")


@pytest.mark.parametrize(
    "kind",
    [
        *("image", "document", "search_result", "container_upload", "server_tool_use", "web_search_tool_result"),
        *("tool_use", "thinking"),
    ],
)
def test_blocks_that_are_no_text_of_the_user_are_refused_by_name(kind: str) -> None:
    block = {"type": kind, "source": {"type": "url", "url": "https://example.org/a.png"}}
    error = refused(messages=[user([text("What is this?"), block])])
    assert (error.param, f"{kind} is not served" in error.message) == ("messages.0.content.1.type", True)
    error = refused(messages=[user([result("1", content=[text("a"), block])])])
    assert error.param == "messages.0.content.0.content.1.type"
    error = refused(system=[block])
    assert error.param == "system.0.type"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [5]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [user(None)]}, "messages.0.content"),
        ({"messages": [user([{"type": "text"}])]}, "messages.0.content.0.text"),
        ({"messages": [user([{"text": "a"}])]}, "messages.0.content.0.type"),
        ({"messages": [user([{"type": "tool_result"}])]}, "messages.0.content.0.tool_use_id"),
        ({"messages": [assistant([{"type": "tool_use", "id": "1", "name": "f"}])]}, "messages.0.content.0.input"),
        ({"messages": [assistant([result("1")]), user("a")]}, "messages.0.content.0.type"),
        ({"messages": [user("a"), assistant([use("1")])]}, "messages"),
        ({"system": 5}, "system"),
        ({"system": [user("a")]}, "system.0.type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": ["\ufffd"]}, "stop_sequences.0"),
        ({"stop_sequences": ["a"] * 17}, "stop_sequences"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": True}, "thinking"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "regex"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools.0.name"),
        ({"tools": [{**WEATHER, "defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tools": [{**WEATHER, "input_examples": [{}]}]}, "tools.0.input_examples"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management"),
        ({"max_tokens_to_sample": 5}, "max_tokens_to_sample"),
    ],
)
def test_errors_name_the_field_of_this_api(body: dict[str, Any], param: str) -> None:
    error = refused(**body)
    assert error.param == param
    assert param in error.message


def test_max_tokens_is_wanted() -> None:
    with pytest.raises(ApiError, match="max_tokens: missing"):
        parse(MessagesRequest, json.dumps({"model": "small", "messages": [user("a")]}).encode())


def test_later_errors_of_the_chat_are_told_in_the_words_of_this_api() -> None:
    told = MESSAGES_FIELDS.error(invalid("thinking_token_budget needs a model that reasons", "thinking_token_budget"))
    assert told.param == "thinking.budget_tokens"
    assert told.message == "thinking.budget_tokens needs a model that reasons"
    assert MESSAGES_FIELDS.error(invalid("stop: empty", "stop")).message == "stop_sequences: empty"
    assert MESSAGES_FIELDS.error(invalid("9 tokens, more than 8", "messages")).param == "messages"
