"""The Responses and the Messages API over a running sidecar, through the official clients."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel
from tokenizers import Tokenizer

from tests.logger.sidecar.running import MODEL, Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import EOS, FIRST, HEAD, Answer, Upstream, event, sends
from tests.places import ROOT
from weightwarden.logger.grammar.backend import GrammarBackend

PROMPT = "Tell me a story."


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(model_folder / "tokenizer.json"))


@pytest.fixture
def gpt(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{sidecar.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(sidecar: Sidecar) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sidecar.url, api_key="none", max_retries=0) as client:
        yield client


def says(tokenizer: Tokenizer, text: str) -> Answer:
    """An answer of a text, as long as the request allows, and then the end of sequence."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids

    async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for at, token in enumerate([*ids, EOS][: body["max_tokens"]], 1):
            finish = "stop" if token == EOS else "length" if at == body["max_tokens"] else None
            yield event([token], finish)
        yield b"data: [DONE]\n\n"

    return answer


def asked(claude: anthropic.Anthropic, **more: Any) -> tuple[anthropic.types.Message, anthropic.types.Message]:
    """A message of the same request, whole and streamed."""
    given: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 20,
        "messages": [{"role": "user", "content": PROMPT}],
        **more,
    }
    with claude.messages.stream(**given) as stream:
        return claude.messages.create(**given), stream.get_final_message()


def test_a_message_is_a_chats_answer_whole_and_streamed_and_on_record(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer, claude: anthropic.Anthropic
) -> None:
    upstream.answer = says(tokenizer, "Once there was a fox.")
    chat = sidecar.chat(PROMPT, max_tokens=20).json()
    for message in asked(claude):
        assert [block.to_dict(exclude_none=True) for block in message.content] == [
            {"type": "text", "text": chat["choices"][0]["message"]["content"]}
        ]
        assert (message.stop_reason, message.model, message.role) == ("end_turn", MODEL, "assistant")
        assert message.usage.input_tokens == chat["usage"]["prompt_tokens"]
        assert message.usage.output_tokens == chat["usage"]["completion_tokens"]
    records = sidecar.await_records(3)
    assert len({tuple(record.prompt_token_ids) for record in records}) == 1
    assert len({tuple(record.output_token_ids) for record in records}) == 1


def test_a_response_is_a_chats_answer_whole_and_streamed_and_on_record(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer, gpt: openai.OpenAI
) -> None:
    upstream.answer = says(tokenizer, "Once there was a fox.")
    chat = sidecar.chat(PROMPT, max_tokens=20, temperature=0.5).json()
    given: dict[str, Any] = {"model": MODEL, "input": PROMPT, "max_output_tokens": 20, "temperature": 0.5}
    with gpt.responses.stream(**given) as stream:
        streamed = stream.get_final_response()
    for response in (gpt.responses.create(**given), streamed):
        assert response.output_text == chat["choices"][0]["message"]["content"]
        assert (response.status, response.temperature, response.model) == ("completed", 0.5, MODEL)
        assert response.usage is not None
        assert response.usage.total_tokens == chat["usage"]["total_tokens"]
    records = sidecar.await_records(3)
    assert len({tuple(record.prompt_token_ids) for record in records}) == 1


def test_the_ids_are_those_of_the_request_and_none_is_the_servers(
    upstream: Upstream, tokenizer: Tokenizer, sidecar: Sidecar
) -> None:
    upstream.answer = says(tokenizer, "A fox.")
    named = {"x-request-id": "my-request"}
    body: dict[str, Any] = {"model": MODEL, "input": "a", "max_output_tokens": 9}
    response = sidecar.client.post("/v1/responses", json=body, headers=named)
    assert response.headers["x-request-id"] == "my-request"
    assert (response.json()["id"], response.json()["output"][0]["id"]) == ("resp_my-request", "msg_my-request_0")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 9}
    message = sidecar.client.post("/v1/messages", json=body, headers=named)
    assert message.json()["id"] == "msg_my-request"
    assert "UPSTREAM" not in response.text + message.text


def test_the_limit_and_a_stop_sequence_end_a_message(
    upstream: Upstream, tokenizer: Tokenizer, claude: anthropic.Anthropic
) -> None:
    upstream.answer = says(tokenizer, "Once there was a fox, and a crow.")
    for message in asked(claude, max_tokens=3):
        assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3)
    for message in asked(claude, stop_sequences=["fox"]):
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "fox")
        assert message.content[0].to_dict()["text"] == "Once there was a "


def test_the_limit_makes_a_response_incomplete(upstream: Upstream, tokenizer: Tokenizer, gpt: openai.OpenAI) -> None:
    upstream.answer = says(tokenizer, "Once there was a fox, and a crow.")
    given: dict[str, Any] = {"model": MODEL, "input": PROMPT, "max_output_tokens": 3}
    *_, last = gpt.responses.create(stream=True, **given)
    assert last.type == "response.incomplete"
    for response in (gpt.responses.create(**given), last.response):
        assert response.status == "incomplete"
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "max_output_tokens"


def test_an_answer_that_is_begun_goes_on_where_it_ends(
    upstream: Upstream, tokenizer: Tokenizer, claude: anthropic.Anthropic
) -> None:
    upstream.answer = says(tokenizer, "B)")
    begun = [{"role": "user", "content": "Sun?"}, {"role": "assistant", "content": "The answer is ("}]
    asked(claude, messages=begun)
    assert tokenizer.decode(upstream.asked[0]["prompt"], skip_special_tokens=False).endswith("The answer is (")


def test_a_count_of_tokens_is_what_the_message_uses_and_asks_nobody(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer, claude: anthropic.Anthropic
) -> None:
    given: dict[str, Any] = {
        "model": MODEL,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello, Claude"}]}],
    }
    count = claude.messages.count_tokens(**given).input_tokens
    assert (upstream.asked, sidecar.records()) == ([], [])
    upstream.answer = says(tokenizer, "Hello.")
    assert claude.messages.create(max_tokens=9, **given).usage.input_tokens == count > 10


def test_errors_name_the_field_of_their_own_api(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        gpt.responses.create(model=MODEL, input=PROMPT, max_output_tokens=9000)
    assert refused.value.param == "max_output_tokens"
    with pytest.raises(openai.BadRequestError, match="previous_response_id: not served"):
        gpt.responses.create(model=MODEL, input=PROMPT, previous_response_id="resp_1")
    with pytest.raises(anthropic.BadRequestError, match="max_tokens = 9000 are more than the context"):
        asked(claude, max_tokens=9000)
    with pytest.raises(anthropic.BadRequestError, match="budget_tokens: Input"):
        asked(claude, thinking={"type": "enabled", "budget_tokens": 10})


def test_a_server_that_fails_ends_a_stream_with_an_error_of_its_own_api(
    upstream: Upstream, sidecar: Sidecar, gpt: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    upstream.answer = sends(FIRST)
    with pytest.raises(openai.APIError, match="the inference server failed"):
        list(gpt.responses.create(model=MODEL, input=PROMPT, stream=True))
    with pytest.raises(anthropic.APIStatusError, match="the inference server failed"):
        asked(claude)
    failed = sidecar.client.post("/v1/responses", json={"model": MODEL, "input": PROMPT, "stream": True})
    last = json.loads(failed.text.strip().split("data: ")[-1])
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")


def test_the_events_do_not_depend_on_how_the_server_sends_its_tokens(
    upstream: Upstream, sidecar: Sidecar, tokenizer: Tokenizer
) -> None:
    ids = [*tokenizer.encode("Once there was a fox.", add_special_tokens=False).ids, EOS]
    together = sends(HEAD, event(ids, "stop"), b"data: [DONE]\n\n")
    apart = sends(HEAD, *(event([one], "stop" if one == EOS else None) for one in ids), b"data: [DONE]\n\n")
    named = {"x-request-id": "same"}
    for path, body in (
        ("/v1/responses", {"input": "a", "max_output_tokens": 20}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 20}),
    ):
        texts = []
        for answer in (together, apart):
            upstream.answer = answer
            got = sidecar.client.post(path, json={"model": MODEL, "stream": True, **body}, headers=named).text
            texts.append([_timeless(line) for line in got.split("\n")])
        assert texts[0] == texts[1]


def _timeless(line: str) -> Any:
    """A line of a stream without the time of the response and the index of its record."""
    if not line.startswith("data: "):
        return line
    body = json.loads(line.removeprefix("data: "))
    body.pop("record_index", None)
    for field in ("created_at", "record_index"):
        body.get("response", {}).pop(field, None)
    return body


WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


@pytest.fixture(scope="module")
def calling(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream
) -> Iterator[Sidecar]:
    """A sidecar of a model that calls tools and reasons."""
    template = ROOT / "benchmarks" / "recording" / "tools.jinja"
    settings = settings_in(
        tmp_path_factory.mktemp("calling"),
        model_folder,
        shared_upstream.url,
        chat_template=template,
        reasoning_parser="think",
    )
    with running(settings) as sidecar:
        yield sidecar


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
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer, streams: bool
) -> None:
    shared_upstream.answer = three_turns(tokenizer)
    claude = anthropic.Anthropic(base_url=calling.url, api_key="none", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
    tool: Any = {"name": "get_weather", "description": "The weather.", "input_schema": WEATHER_SCHEMA}
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
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer, streams: bool
) -> None:
    shared_upstream.answer = three_turns(tokenizer)
    gpt = openai.OpenAI(base_url=f"{calling.url}/v1", api_key="none", max_retries=0)
    items: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
    tool: Any = {"type": "function", "name": "get_weather", "parameters": WEATHER_SCHEMA, "strict": False}
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
    function = {"name": "get_weather", "description": "The weather.", "parameters": WEATHER_SCHEMA}
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
            "tools": [{"name": "get_weather", "description": "The weather.", "input_schema": WEATHER_SCHEMA}],
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
    calling: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    shared_upstream.answer = says(tokenizer, "Let me think.\n</think>\n\nFour.")
    claude = anthropic.Anthropic(base_url=calling.url, api_key="none", max_retries=0)
    for message in asked(claude, max_tokens=60, output_config={"effort": "low"}):
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert message.content[0].to_dict()["thinking"] == "Let me think."
        assert message.usage.output_tokens_details is not None
        assert 4 <= message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens
    gpt = openai.OpenAI(base_url=f"{calling.url}/v1", api_key="none", max_retries=0)
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
    with running(settings) as sidecar:
        gpt = openai.OpenAI(base_url=f"{sidecar.url}/v1", api_key="none", max_retries=0)
        claude = anthropic.Anthropic(base_url=sidecar.url, api_key="none", max_retries=0)
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
    template = ROOT / "benchmarks" / "recording" / "tools.jinja"
    settings = settings_in(
        tmp_path, model_folder, upstream.url, chat_template=template, grammar_backend=GrammarBackend("1.7.6")
    )
    tool: dict[str, Any] = {"name": "get_weather", "description": "The weather."}
    given: dict[str, Any] = {"model": MODEL, "temperature": 0}
    with running(settings) as sidecar:
        message = sidecar.client.post(
            "/v1/messages",
            json={
                **given,
                "messages": [{"role": "user", "content": PROMPT}],
                "tools": [{**tool, "input_schema": WEATHER_SCHEMA}],
                "tool_choice": {"type": "tool", "name": "get_weather"},
                "max_tokens": 60,
            },
        ).json()
        response = sidecar.client.post(
            "/v1/responses",
            json={
                **given,
                "input": PROMPT,
                "tools": [{"type": "function", **tool, "parameters": WEATHER_SCHEMA}],
                "tool_choice": {"type": "function", "name": "get_weather"},
                "max_output_tokens": 60,
            },
        ).json()
    assert (message["stop_reason"], message["content"][0]["input"]) == ("tool_use", {"city": "Paris"})
    assert json.loads(response["output"][0]["arguments"]) == {"city": "Paris"}
    first, second = upstream.asked
    assert first == second
    assert "get_weather" in first["structured_outputs"]["grammar"]
