"""Tools, reasoning and structured output in the Responses and the Messages API, through the official clients."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel
from tokenizers import Tokenizer

from tests.logger.sidecar.official_clients import PROMPT, anthropic_client, asked, openai_client, says
from tests.logger.sidecar.running import MODEL, Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import Answer, Upstream
from tests.logger.sidecar.weather import TEMPLATE, WEATHER, weather_call
from weightwarden.logger.grammar.backend import GrammarBackend

CALL = weather_call('{"city": "Paris"}')


@pytest.fixture
def gpt(calling: Sidecar) -> Iterator[openai.OpenAI]:
    with openai_client(calling.url) as client:
        yield client


@pytest.fixture
def claude(calling: Sidecar) -> Iterator[anthropic.Anthropic]:
    with anthropic_client(calling.url) as client:
        yield client


def three_turns(tokenizer: Tokenizer) -> Answer:
    """An answer with a call, with two calls once the prompt has one result, and with none once it has three."""
    texts = {0: f"One moment.\n{CALL}", 1: f"{CALL}\n{CALL}", 3: "Sunny."}

    async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
        results = tokenizer.decode(body["prompt"]).count("<tool_response>")
        async for block in says(tokenizer, texts[results])(body):
            yield block

    return answer


@pytest.mark.parametrize("streams", [False, True])
def test_anthropics_client_calls_tools_in_a_loop_of_three_turns(
    claude: anthropic.Anthropic, shared_upstream: Upstream, tokenizer: Tokenizer, streams: bool
) -> None:
    shared_upstream.answer = three_turns(tokenizer)
    messages: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
    tool: Any = {"name": "get_weather", "description": "The weather.", "input_schema": WEATHER}
    reasons, calls = [], []
    for _ in range(3):
        given: dict[str, Any] = {"model": MODEL, "max_tokens": 99, "tools": [tool], "messages": messages}
        if streams:
            with claude.messages.stream(**given) as stream:
                message: anthropic.types.Message = stream.get_final_message()
        else:
            message = claude.messages.create(**given)
        reasons.append(message.stop_reason)
        calls.append([block for block in message.content if block.type == "tool_use"])
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "25 degrees"} for call in calls[-1]]
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    assert reasons == ["tool_use", "tool_use", "end_turn"]
    assert [[(call.name, call.input) for call in turn] for turn in calls] == [
        [("get_weather", {"city": "Paris"})],
        [("get_weather", {"city": "Paris"})] * 2,
        [],
    ]
    ids = [call.id for turn in calls for call in turn]
    assert len(set(ids)) == 3
    assert all(identifier.startswith("toolu_") for identifier in ids)
    assert [block.type for block in message.content] == ["text"]


@pytest.mark.parametrize("streams", [False, True])
def test_openais_client_calls_tools_in_a_loop_of_three_turns(
    gpt: openai.OpenAI, shared_upstream: Upstream, tokenizer: Tokenizer, streams: bool
) -> None:
    shared_upstream.answer = three_turns(tokenizer)
    items: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
    tool: Any = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}
    calls = []
    for _ in range(3):
        given: dict[str, Any] = {"model": MODEL, "max_output_tokens": 99, "tools": [tool], "input": items}
        if streams:
            with gpt.responses.stream(**given) as stream:
                response: Any = stream.get_final_response()
        else:
            response = gpt.responses.create(**given)
        assert response.status == "completed"
        items += response.output
        calls.append([item for item in response.output if item.type == "function_call"])
        items += [
            {"type": "function_call_output", "call_id": call.call_id, "output": "25 degrees"} for call in calls[-1]
        ]
    assert [[(call.name, json.loads(call.arguments)) for call in turn] for turn in calls] == [
        [("get_weather", {"city": "Paris"})],
        [("get_weather", {"city": "Paris"})] * 2,
        [],
    ]
    assert response.output_text == "Sunny."


def test_all_three_apis_ask_the_same_of_the_server_for_the_same_conversation(
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    shared_upstream.answer = says(tokenizer, "Sunny.")
    question, call, result = "How is the weather in Paris?", {"city": "Paris"}, "25 degrees"
    function = {"name": "get_weather", "description": "The weather.", "parameters": WEATHER}
    called = {"name": "get_weather", "arguments": json.dumps(call)}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": question},
                {
                    "role": "assistant",
                    "content": "A moment.",
                    "reasoning": "Hm.",
                    "tool_calls": [{"id": "call_1", "type": "function", "function": called}],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": result},
            ],
            "tools": [{"type": "function", "function": function}],
            "reasoning_effort": "low",
            "max_tokens": 30,
        },
        "/v1/responses": {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": question}]},
                {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "A moment."}]},
                {"type": "function_call", "call_id": "call_1", **called},
                {"type": "function_call_output", "call_id": "call_1", "output": result},
            ],
            "tools": [{"type": "function", **function}],
            "reasoning": {"effort": "low"},
            "max_output_tokens": 30,
        },
        "/v1/messages": {
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": question}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                        {"type": "text", "text": "A moment."},
                        {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": call},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": result}]},
            ],
            "tools": [{"name": "get_weather", "description": "The weather.", "input_schema": WEATHER}],
            "output_config": {"effort": "low"},
            "max_tokens": 30,
        },
    }
    shared_upstream.asked.clear()
    for path, body in bodies.items():
        response = calling.client.post(path, json={"model": MODEL, "temperature": 0, **body})
        assert response.status_code == 200, response.text
    first, *others = shared_upstream.asked
    assert "<tool_response>" in tokenizer.decode(first["prompt"])
    assert others == [first, first]


def test_reasoning_is_thinking_and_an_item_of_its_own(
    claude: anthropic.Anthropic, gpt: openai.OpenAI, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    shared_upstream.answer = says(tokenizer, "Let me think.\n</think>\n\nFour.")
    for message in asked(claude, max_tokens=60, output_config={"effort": "low"}):
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert message.content[0].to_dict()["thinking"] == "Let me think."
        assert message.usage.output_tokens_details is not None
        assert 4 <= message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens
    response = gpt.responses.create(model=MODEL, input="2 + 2?", reasoning={"effort": "low"}, max_output_tokens=60)
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output_text.strip() == "Four."
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens >= 4


class Weather(BaseModel):
    city: str
    warm: bool


def test_both_official_clients_parse_structured_output_of_one_grammar(
    tmp_path: Path, model_folder: Path, upstream: Upstream, tokenizer: Tokenizer
) -> None:
    upstream.answer = says(tokenizer, '{"city": "Paris", "warm": true}')
    settings = settings_in(tmp_path, model_folder, upstream.url, grammar_backend=GrammarBackend("1.7.6"))
    question: Any = [{"role": "user", "content": PROMPT}]
    with running(settings) as sidecar, openai_client(sidecar.url) as gpt, anthropic_client(sidecar.url) as claude:
        response = gpt.responses.parse(model=MODEL, input=question, text_format=Weather, max_output_tokens=60)
        message = claude.messages.parse(model=MODEL, messages=question, output_format=Weather, max_tokens=60)
        refused = sidecar.client.post(
            "/v1/responses",
            json={"model": MODEL, "input": "a", "text": {"format": _schema({"type": "no such type"})}},
        )
        records = sidecar.await_records(2)
    assert response.output_parsed == message.parsed_output == Weather(city="Paris", warm=True)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "text.format")
    grammars = [record.grammar for record in records]
    assert all(grammar is not None and grammar.kind == "json" for grammar in grammars)
    assert [asked["structured_outputs"] for asked in upstream.asked] == [
        {"json": grammar.text} for grammar in grammars if grammar is not None
    ]
    assert [set(json.loads(asked["structured_outputs"]["json"])["properties"]) for asked in upstream.asked] == [
        {"city", "warm"},
        {"city", "warm"},
    ]


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "name": "weather", "schema": schema}


def test_a_tool_that_must_be_called_is_a_grammar_in_both_apis(
    tmp_path: Path, model_folder: Path, upstream: Upstream, tokenizer: Tokenizer
) -> None:
    upstream.answer = says(tokenizer, CALL)
    settings = settings_in(
        tmp_path, model_folder, upstream.url, chat_template=TEMPLATE, grammar_backend=GrammarBackend("1.7.6")
    )
    tool: dict[str, Any] = {"name": "get_weather", "description": "The weather."}
    given: dict[str, Any] = {"model": MODEL, "temperature": 0}
    with running(settings) as sidecar:
        message = sidecar.client.post(
            "/v1/messages",
            json={
                **given,
                "messages": [{"role": "user", "content": PROMPT}],
                "tools": [{**tool, "input_schema": WEATHER}],
                "tool_choice": {"type": "tool", "name": "get_weather"},
                "max_tokens": 60,
            },
        ).json()
        response = sidecar.client.post(
            "/v1/responses",
            json={
                **given,
                "input": PROMPT,
                "tools": [{"type": "function", **tool, "parameters": WEATHER}],
                "tool_choice": {"type": "function", "name": "get_weather"},
                "max_output_tokens": 60,
            },
        ).json()
    assert (message["stop_reason"], message["content"][0]["input"]) == ("tool_use", {"city": "Paris"})
    assert json.loads(response["output"][0]["arguments"]) == {"city": "Paris"}
    first, second = upstream.asked
    assert first == second
    assert "get_weather" in first["structured_outputs"]["grammar"]
