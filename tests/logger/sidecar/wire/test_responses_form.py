import json
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.logger.sidecar.wire.answers import Exchange, Tokens, ended, events, head, streamed, token_parts, whole
from weightwarden.logger.sidecar.errors import upstream_failed
from weightwarden.logger.sidecar.reading.parts import CallArguments, CallBegin, ContentText, ReasoningText
from weightwarden.logger.sidecar.wire.requests import GenerationRequest
from weightwarden.logger.sidecar.wire.responses_api.form import ResponsesForm
from weightwarden.logger.sidecar.wire.responses_api.request import ResponsesRequest
from weightwarden.sampler.params import SamplingParams

CALLING: Tokens = [
    [ReasoningText("Let")],
    [ReasoningText(" me")],
    [],
    [ContentText("One")],
    [ContentText(" moment.")],
    [CallBegin(0, "weather"), CallArguments(0, '{"city"')],
    [CallArguments(0, ': "Paris"}')],
    [CallBegin(1, "time"), CallArguments(1, "{}")],
]


def form_of(**body: Any) -> ResponsesForm:
    """The form of the answer to a request."""
    request = ResponsesRequest.model_validate({"model": "small", "input": "x", **body})
    sampling = SamplingParams(temperature=0.5, top_p=0.25, max_tokens=5)
    like_chat: Any = None
    asked = GenerationRequest(prompts=[[1]], sampling=sampling, choices=1, seed=None, stream=False, form=like_chat)
    form = request.answered_in_its_form(asked).form(head())
    assert isinstance(form, ResponsesForm)
    return form


def exchange(tokens: Tokens, finish: str = "stop") -> Exchange:
    def answer(body: dict[str, Any]) -> bytes:
        end, form = ended(tokens, finish), form_of(**body)
        return streamed(form, tokens, end) if body.get("stream") else whole(form, tokens, end)

    return Exchange(answer)


def received(client: openai.OpenAI, **body: Any) -> tuple[Response, Response]:
    """The response as the official client receives it, whole and at the end of a stream."""
    *_, last = client.responses.create(model="small", input="x", stream=True, **body)
    return client.responses.create(model="small", input="x", **body), last.response


def added_up(stream: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output items that the events before the last one make, by their deltas alone."""
    items: list[dict[str, Any]] = []
    for event in stream:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(items)
                items.append(json.loads(json.dumps(event["item"])))
            case "content_part.added":
                items[event["output_index"]]["content"].append(dict(event["part"]))
            case "output_text.delta" | "reasoning_text.delta":
                items[event["output_index"]]["content"][event["content_index"]]["text"] += event["delta"]
            case "function_call_arguments.delta":
                items[event["output_index"]]["arguments"] += event["delta"]
            case "output_item.done":
                items[event["output_index"]]["status"] = event["item"]["status"]
                assert items[event["output_index"]] == event["item"]
    return items


def test_the_official_client_reads_reasoning_text_and_calls_whole_and_streamed() -> None:
    response, from_stream = received(exchange(CALLING).openai)
    assert response.to_dict(exclude_none=True) == from_stream.to_dict(exclude_none=True)
    assert response.output_text == "One moment."
    assert [(item.type, item.id, item.status) for item in response.output] == [  # type: ignore[union-attr]
        ("reasoning", "rs_0a1b_0", "completed"),
        ("message", "msg_0a1b_1", "completed"),
        ("function_call", "fc_0a1b_2", "completed"),
        ("function_call", "fc_0a1b_3", "completed"),
    ]
    call = response.output[2]
    assert call.type == "function_call"
    assert (call.call_id, call.name, json.loads(call.arguments)) == ("call_00", "weather", {"city": "Paris"})
    assert (response.id, response.status, response.model) == ("resp_0a1b", "completed", "small")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (7, 8, 15)
    assert response.usage.output_tokens_details.reasoning_tokens == 2


@settings(max_examples=40)
@given(token_parts())
def test_deltas_add_up_to_the_whole_response_whatever_the_model_wrote(tokens: Tokens) -> None:
    stream = events(streamed(form_of(), tokens, ended(tokens)))
    response = json.loads(whole(form_of(), tokens, ended(tokens)))
    assert added_up(stream) == response["output"]
    assert stream[-1]["response"] == response
    with exchange(tokens).openai.responses.stream(model="small", input="x") as accumulating:
        assert accumulating.get_final_response().to_dict(exclude_none=True) == Response(**response).to_dict(
            exclude_none=True
        )


def test_the_events_are_numbered_and_in_openais_order() -> None:
    stream = events(streamed(form_of(), CALLING, ended(CALLING)))
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    text = [
        "output_item.added",
        "content_part.added",
        "delta",
        "delta",
        "done",
        "content_part.done",
        "output_item.done",
    ]
    call = ["output_item.added", "delta", "delta", "done", "output_item.done"]
    expected = [
        "created",
        "in_progress",
        *(f"reasoning_text.{kind}" if "." not in kind else kind for kind in text),
        *(f"output_text.{kind}" if "." not in kind else kind for kind in text),
        *(f"function_call_arguments.{kind}" if "." not in kind else kind for kind in call),
        *(f"function_call_arguments.{kind}" if "." not in kind else kind for kind in [call[0], *call[2:]]),
        "completed",
    ]
    assert [event["type"].removeprefix("response.") for event in stream] == expected
    assert stream[0]["response"]["status"] == "in_progress"
    assert stream[0]["response"]["output"] == []


def test_each_event_is_one_that_the_official_package_knows() -> None:
    known: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
    form = form_of(tools=[{"type": "function", "name": "f", "parameters": {}}], tool_choice="required")
    stream = [*events(streamed(form, CALLING, ended(CALLING))), *events(b"".join(form.error(upstream_failed("x"))))]
    for event in stream:
        assert known.validate_python(event).type == event["type"]


def test_each_token_has_its_own_events_and_one_without_text_has_none() -> None:
    form = form_of()
    form.begin(0)
    assert [len(form.parts(0, parts)) for parts in CALLING] == [3, 1, 0, 6, 1, 5, 1, 4]
    assert [len(form.texts(0, [piece])) for piece in ("", "a", "b")] == [0, 5, 1]


@pytest.mark.parametrize(
    ("tokens", "finish", "statuses", "whole_status"),
    [
        ([[ContentText("a")]], "length", ["incomplete"], "incomplete"),
        (
            [[ContentText("a"), CallBegin(0, "f"), CallArguments(0, "{")]],
            "length",
            ["completed", "incomplete"],
            "incomplete",
        ),
        ([[CallBegin(0, "f"), CallArguments(0, "{")]], "stop", ["incomplete"], "completed"),
        ([[CallBegin(0, "f"), CallArguments(0, "[" * 100_000)]], "stop", ["incomplete"], "completed"),
        ([[]], "stop", [], "completed"),
        ([[]], "length", [], "incomplete"),
    ],
)
def test_what_the_limit_cut_and_calls_that_are_not_json_are_incomplete(
    tokens: Tokens, finish: str, statuses: list[str], whole_status: str
) -> None:
    for response in received(exchange(tokens, finish).openai):
        assert [item.status for item in response.output] == statuses  # type: ignore[union-attr]
        assert response.status == whole_status
        reason = response.incomplete_details and response.incomplete_details.reason
        assert reason == ("max_output_tokens" if finish == "length" else None)


def test_the_response_repeats_the_request_and_says_what_was_used() -> None:
    tool = {"type": "function", "name": "f", "description": "d", "parameters": {"default": None}, "strict": True}
    wanted = {"type": "json_schema", "name": "n", "schema": {"enum": [None]}, "description": "d", "strict": True}
    response = received(
        exchange(CALLING).openai,
        instructions="Be brief.",
        max_output_tokens=9,
        metadata={"a": "b"},
        parallel_tool_calls=False,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": wanted},
        tools=[tool],
        tool_choice={"type": "function", "name": "f"},
    )[0].to_dict()
    expected = {
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": None},
        "text": {"format": wanted, "verbosity": "medium"},
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "f"},
        "temperature": 0.5,
        "top_p": 0.25,
        "store": False,
        "previous_response_id": None,
    }
    assert {field: response[field] for field in expected} == expected


@pytest.mark.parametrize("record", [None, 5])
def test_the_index_of_the_record_is_given_only_if_the_operator_wants_it(record: int | None) -> None:
    end = ended(CALLING, record=record)
    assert json.loads(whole(form_of(), CALLING, end)).get("record_index") == record
    assert events(streamed(form_of(), CALLING, end))[-1]["response"].get("record_index") == record


def test_a_stream_that_fails_ends_with_a_failed_response_and_an_error_that_the_client_raises() -> None:
    form = form_of()
    sent = [*form.begin(0), *form.parts(0, [ContentText("a")]), *form.error(upstream_failed("x"))]
    stream = events(b"".join(sent))
    assert [event["type"] for event in stream[-3:]] == ["response.output_item.done", "error", "response.failed"]
    assert stream[-1]["response"]["status"] == "failed"
    assert stream[-1]["response"]["error"] == {"code": "server_error", "message": "the inference server failed"}
    assert stream[-1]["response"]["output"][0]["status"] == "incomplete"
    with (
        pytest.raises(openai.APIError, match="the inference server failed"),
        Exchange(lambda _: b"".join(sent)).openai.responses.stream(model="small", input="x") as events_of,
    ):
        events_of.get_final_response()


class Weather(BaseModel):
    city: str
    warm: bool


def test_the_official_client_parses_structured_output_and_arguments() -> None:
    tokens: Tokens = [[ContentText('{"city": "Paris", ')], [ContentText('"warm": true}')]]
    parsing = exchange(tokens)
    response = parsing.openai.responses.parse(model="small", input="x", text_format=Weather)
    assert response.output_parsed == Weather(city="Paris", warm=True)
    with parsing.openai.responses.stream(model="small", input="x", text_format=Weather) as stream:
        assert stream.get_final_response().output_parsed == response.output_parsed
    chat_format = ResponsesRequest.model_validate(parsing.requests[0]).text
    assert chat_format is not None
    assert chat_format.chat()["json_schema"]["schema"] == Weather.model_json_schema() | {"additionalProperties": False}  # type: ignore[index]
