"""Requests as OpenAI's documentation of the Responses API shows them, and the chats that they become."""

import json
from typing import Any

import pytest

from weightwarden.logger.sidecar.errors import ApiError, invalid, no_such_model
from weightwarden.logger.sidecar.wire.requests import parse
from weightwarden.logger.sidecar.wire.responses_api.request import RESPONSES_FIELDS, ResponsesRequest

WEATHER_PARAMETERS = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": "City and country e.g. Bogotá, Colombia"},
        "units": {"type": ["string", "null"], "enum": ["celsius", "fahrenheit", None]},
    },
    "required": ["location", "units"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Retrieves current weather for the given location.",
    "parameters": WEATHER_PARAMETERS,
    "strict": True,
}
CHAT_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Retrieves current weather for the given location.",
        "parameters": WEATHER_PARAMETERS,
        "strict": True,
    },
}
EVENT_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "participants": {"type": "array", "items": {"type": "string"}}},
    "required": ["name", "participants"],
    "additionalProperties": False,
}


def chat(**body: Any) -> dict[str, Any]:
    """The fields of the chat that a request becomes."""
    request = parse(ResponsesRequest, json.dumps({"model": "small", "input": "Hello", **body}).encode())
    made: dict[str, Any] = request.chat().model_dump(exclude_unset=True, by_alias=True)
    return made


def refused(**body: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        chat(**body)
    assert caught.value.status == 400
    return caught.value


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_text_is_the_users_message_and_instructions_come_first() -> None:
    assert chat() == {"model": "small", "messages": [user("Hello")]}
    assert chat(instructions="Talk like a pirate.")["messages"] == [
        {"role": "system", "content": "Talk like a pirate."},
        user("Hello"),
    ]


def test_a_text_may_be_longer_than_a_list_of_items() -> None:
    assert chat(input="a " * 50_000)["messages"] == [user("a " * 50_000)]
    assert "at most 10000 items" in refused(input=[user("a")] * 10_001).message


def test_items_of_messages_become_messages() -> None:
    messages = chat(
        input=[
            {"role": "developer", "content": "Talk like a pirate."},
            {"role": "user", "content": [{"type": "input_text", "text": "knock knock."}]},
            {"type": "message", "role": "assistant", "content": "Who's there?"},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "Well?", "annotations": [], "logprobs": []},
                    {"type": "refusal", "refusal": "No."},
                ],
            },
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        ]
    )["messages"]
    assert messages == [
        {"role": "developer", "content": "Talk like a pirate."},
        user("knock knock."),
        {"role": "assistant", "content": "Who's there?"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Well?"}, {"type": "refusal", "refusal": "No."}],
        },
        user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
    ]


def test_a_turn_with_reasoning_text_and_calls_is_one_message_followed_by_the_results() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
    messages = chat(
        input=[
            user("Weather?"),
            {
                "id": "rs_1",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "unused"}],
                "content": [{"type": "reasoning_text", "text": "Two"}, {"type": "reasoning_text", "text": " places."}],
            },
            {"role": "assistant", "content": [{"type": "output_text", "text": "A moment.", "annotations": []}]},
            {**call, "status": "completed"},
            {**call, "call_id": "call_2", "status": "completed"},
            {"type": "function_call_output", "call_id": "call_1", "output": "25 °C"},
            {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "rain"}]},
        ]
    )["messages"]
    function = {"name": "get_weather", "arguments": "{}"}
    assert messages == [
        user("Weather?"),
        {
            "role": "assistant",
            "content": "A moment.",
            "reasoning": "Two places.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": function},
                {"id": "call_2", "type": "function", "function": function},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "25 °C"},
        {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
    ]


@pytest.mark.parametrize(
    ("kinds", "turns"),
    [
        ("m", ["m"]),
        ("rm", ["rm"]),
        ("rc", ["rc"]),
        ("cm", ["mc"]),
        ("mm", ["m", "m"]),
        ("rr", ["r", "r"]),
        ("mr", ["m", "r"]),
        ("rmcrcm", ["rmc", "rmc"]),
        ("ucm", ["u", "mc"]),
        ("muc", ["m", "u", "c"]),
    ],
)
def test_reasoning_begins_a_turn_and_text_and_calls_join_it(kinds: str, turns: list[str]) -> None:
    items = {
        "r": {"type": "reasoning", "summary": [{"type": "summary_text", "text": "r"}]},
        "m": {"role": "assistant", "content": "m"},
        "c": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        "u": user("u"),
    }
    made = []
    for message in chat(input=[items[kind] for kind in kinds])["messages"]:
        fields = {"r": "reasoning", "m": "content", "c": "tool_calls"}
        turn = "".join(kind for kind, field in fields.items() if message.get(field) is not None)
        made.append("u" if message["role"] == "user" else turn)
    assert made == turns


def test_functions_are_a_chats_tools() -> None:
    made = chat(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
    assert made["tools"] == [CHAT_WEATHER]
    assert (made["tool_choice"], made["parallel_tool_calls"]) == ("required", False)
    named = chat(tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"})["tool_choice"]
    assert named == {"type": "function", "function": {"name": "get_weather"}}
    bare = chat(tools=[{"type": "function", "name": "f", "parameters": None, "strict": None, "description": None}])
    assert bare["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert "tools" not in chat(tools=None, tool_choice="auto")


def test_text_format_is_a_chats_response_format_with_its_schema_as_it_was_sent() -> None:
    wanted = {"type": "json_schema", "name": "event", "schema": EVENT_SCHEMA, "strict": True}
    made = chat(text={"format": wanted, "verbosity": "low"})["response_format"]
    assert made == {"type": "json_schema", "json_schema": {"name": "event", "schema": EVENT_SCHEMA, "strict": True}}
    assert json.dumps(made["json_schema"]["schema"]) == json.dumps(EVENT_SCHEMA)
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}})
    assert "response_format" not in chat(text={"verbosity": "high"})


def test_limits_sampling_and_effort_have_their_names_in_a_chat() -> None:
    made = chat(
        max_output_tokens=300.0,
        temperature=0.2,
        top_p=0.9,
        top_k=40,
        seed=7,
        stop=["END"],
        reasoning={"effort": "high", "summary": "auto"},
        stream=True,
        stream_options={"include_obfuscation": False},
        structured_outputs={"regex": "a+"},
        chat_template_kwargs={"a": 1},
    )
    assert made == {
        "model": "small",
        "messages": [user("Hello")],
        "max_completion_tokens": 300,
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 40,
        "seed": 7,
        "stop": ["END"],
        "reasoning_effort": "high",
        "stream": True,
        "structured_outputs": {"regex": "a+"},
        "chat_template_kwargs": {"a": 1},
    }


def test_what_has_no_effect_is_accepted() -> None:
    neutral: dict[str, Any] = {
        "store": False,
        "background": False,
        "previous_response_id": None,
        "conversation": None,
        "prompt": None,
        "truncation": "disabled",
        "include": ["reasoning.encrypted_content", "code_interpreter_call.outputs"],
        "metadata": {"topic": "demo"},
        "user": "user_123",
        "safety_identifier": "x",
        "service_tier": "auto",
        "prompt_cache_key": "x",
        "prompt_cache_retention": "24h",
        "max_tool_calls": 5,
        "top_logprobs": 0,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": None,
        "text": None,
    }
    assert chat(**neutral)["messages"] == chat()["messages"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("previous_response_id", "resp_1", "no response is kept"),
        ("conversation", "conv_1", "no response is kept"),
        ("conversation", {"id": "conv_1"}, "no response is kept"),
        ("store", True, "no response is kept"),
        ("background", True, "no response is kept"),
        ("prompt", {"id": "pmpt_1"}, "no prompt is kept"),
        ("truncation", "auto", "used whole, or refused"),
        ("context_management", [{"type": "compaction"}], "used whole, or refused"),
        ("top_logprobs", 3, "log-probabilities"),
        ("top_logprobs", False, "log-probabilities"),
        ("moderation", {"model": "x"}, "only the model answers"),
    ],
)
def test_what_needs_a_kept_state_or_a_service_is_refused_by_name(field: str, value: Any, words: str) -> None:
    error = refused(**{field: value})
    assert error.param == field
    assert f"{field}: not served: " in error.message
    assert words in error.message


@pytest.mark.parametrize(
    "kind",
    [
        *("web_search", "web_search_preview", "file_search", "code_interpreter", "computer_use_preview", "computer"),
        *("mcp", "image_generation", "local_shell", "shell", "apply_patch", "custom", "namespace", "tool_search"),
    ],
)
def test_built_in_tools_are_refused_by_name(kind: str) -> None:
    error = refused(tools=[WEATHER, {"type": kind, "name": "x"}])
    assert (error.param, error.message) == ("tools.1.type", f"tools.1.type: {kind} is not served, only function")
    error = refused(tools=[WEATHER], tool_choice={"type": kind})
    assert (error.param, kind in error.message) == ("tool_choice.type", True)


@pytest.mark.parametrize(
    "kind", ["input_image", "input_file", "input_audio", "computer_screenshot", "summary_text", "reasoning_text"]
)
def test_parts_that_are_no_text_are_refused_by_name(kind: str) -> None:
    part = {"type": kind, "image_url": "https://example.org/a.png"}
    error = refused(input=[user([{"type": "input_text", "text": "a"}, part])])
    assert (error.param, kind in error.message) == ("input.0.content.1.type", True)
    output = {"type": "function_call_output", "call_id": "c", "output": [part]}
    assert refused(input=[user("a"), output]).param == "input.1.output.0.type"


@pytest.mark.parametrize(
    "kind",
    [
        *("item_reference", "web_search_call", "file_search_call", "computer_call", "computer_call_output"),
        *("code_interpreter_call", "mcp_call", "mcp_list_tools", "image_generation_call", "custom_tool_call"),
        *("custom_tool_call_output", "local_shell_call", "compaction", "program", "additional_tools"),
    ],
)
def test_items_of_built_in_tools_and_of_kept_responses_are_refused_by_name(kind: str) -> None:
    error = refused(input=[user("a"), {"type": kind, "id": "x"}])
    assert (error.param, f"{kind} is not served" in error.message) == ("input.1.type", True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": [5]}, "input.0"),
        ({"input": [{"type": 5}]}, "input.0.type"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input.0.role"),
        ({"input": [{"role": "user"}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input.0.content.0.text"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input.0.arguments"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": None}]}, "input.0.output"),
        ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input.0.encrypted_content"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stop": [""]}, "stop.0"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"reasoning": "high"}, "reasoning"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools.0.name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools.0.parameters"),
        ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tools": [5]}, "tools.0"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.type"),
        ({"include": ["message.output_text.logprobs"]}, "include.0"),
        ({"metadata": {"a": 5}}, "metadata.a"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"stream_options": {"include_usage": True}}, "stream_options.include_usage"),
        ({"n": 2}, "n"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"model": ""}, "model"),
    ],
)
def test_errors_name_the_field_of_this_api(body: dict[str, Any], param: str) -> None:
    error = refused(**body)
    assert error.param == param
    assert param in error.message


def test_later_errors_of_the_chat_are_told_in_the_words_of_this_api() -> None:
    told = RESPONSES_FIELDS.error(invalid("7 tokens of prompt and max_tokens = 9 are more than 8", "max_tokens"))
    assert told.param == "max_output_tokens"
    assert told.message == "7 tokens of prompt and max_output_tokens = 9 are more than 8"
    assert RESPONSES_FIELDS.error(invalid("9 tokens, more than 8", "messages")).param == "input"
    assert RESPONSES_FIELDS.error(invalid("too large", "response_format")).param == "text.format"
    unchanged = no_such_model("a", "small")
    assert RESPONSES_FIELDS.error(unchanged) is unchanged
