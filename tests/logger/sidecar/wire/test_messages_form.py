import json
from dataclasses import replace
from typing import Any

import anthropic
import pytest
from hypothesis import given, settings

from tests.logger.sidecar.wire.answers import Exchange, Tokens, ended, events, head, streamed, token_parts, whole
from weightwarden.logger.sidecar.errors import ApiError, busy, invalid, log_unavailable, upstream_failed
from weightwarden.logger.sidecar.reading.parts import CallArguments, CallBegin, ContentText, ReasoningText
from weightwarden.logger.sidecar.wire.messages_api.content import SIGNATURE
from weightwarden.logger.sidecar.wire.messages_api.form import MessagesForm, call_id, count_body, error_body
from weightwarden.logger.sidecar.wire.messages_api.request import MessagesRequest
from weightwarden.logger.sidecar.wire.requests import GenerationRequest
from weightwarden.sampler.params import SamplingParams

CALLING: Tokens = [
    [ReasoningText("Let")],
    [ReasoningText(" me")],
    [],
    [ContentText("One moment.")],
    [CallBegin(0, "weather"), CallArguments(0, ' {"city"')],
    [CallArguments(0, ': "Paris"}')],
    [CallBegin(1, "time"), CallArguments(1, "{}")],
]
ASKED: dict[str, Any] = {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def exchange(tokens: Tokens, finish: str = "stop", stop: str | int | None = None) -> Exchange:
    def answer(body: dict[str, Any]) -> bytes:
        end, form = ended(tokens, finish, stop), MessagesForm(head("toolu_"))
        return streamed(form, tokens, end) if body.get("stream") else whole(form, tokens, end, "toolu_")

    return Exchange(answer)


def received(client: anthropic.Anthropic) -> tuple[anthropic.types.Message, anthropic.types.Message]:
    """The message as the official client receives it, whole and streamed."""
    with client.messages.stream(**ASKED) as stream:
        return client.messages.create(**ASKED), stream.get_final_message()


def test_the_official_client_reads_thinking_text_and_calls_whole_and_streamed() -> None:
    message, from_stream = received(exchange(CALLING).anthropic)
    assert message.to_dict(exclude_none=True) == from_stream.to_dict(exclude_none=True)
    assert [block.to_dict() for block in message.content] == [
        {"type": "thinking", "thinking": "Let me", "signature": SIGNATURE},
        {"type": "text", "text": "One moment."},
        {"type": "tool_use", "id": "toolu_00", "name": "weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "toolu_01", "name": "time", "input": {}},
    ]
    assert (message.id, message.model, message.stop_reason) == ("msg_0a1b", "small", "tool_use")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 7)
    assert message.usage.output_tokens_details is not None
    assert message.usage.output_tokens_details.thinking_tokens == 2


@settings(max_examples=60)
@given(token_parts())
def test_a_stream_adds_up_to_the_whole_message_whatever_the_model_wrote(tokens: Tokens) -> None:
    message, from_stream = received(exchange(tokens).anthropic)
    assert message.to_dict(exclude_none=True) == from_stream.to_dict(exclude_none=True)


def test_the_events_have_anthropics_order() -> None:
    stream = events(streamed(MessagesForm(head()), CALLING, ended(CALLING)))
    assert [event["type"] for event in stream[:1] + stream[-2:]] == ["message_start", "message_delta", "message_stop"]
    blocks = stream[1:-2]
    assert [event["index"] for event in blocks] == sorted(event["index"] for event in blocks)
    for index in range(4):
        kinds = [event["type"] for event in blocks if event["index"] == index]
        deltas = kinds.count("content_block_delta")
        assert kinds == ["content_block_start", *["content_block_delta"] * deltas, "content_block_stop"]
    thinking = [event["delta"]["type"] for event in blocks if event["index"] == 0 and "delta" in event]
    assert thinking == ["thinking_delta", "thinking_delta", "signature_delta"]


def test_each_token_has_its_own_events_and_one_without_text_has_none() -> None:
    form = MessagesForm(head())
    form.begin(0)
    sent = [len(form.parts(0, parts)) for parts in CALLING]
    assert sent == [2, 1, 0, 4, 3, 1, 3]
    assert [len(form.texts(1, [piece])) for piece in ("", "a", "b")] == [0, 3, 1]


@pytest.mark.parametrize(
    ("arguments", "finish", "stop", "reason", "sequence"),
    [
        ("{}", "stop", None, "tool_use", None),
        ("", "stop", None, "tool_use", None),
        ("{}", "length", None, "max_tokens", None),
        ("{}", "stop", "END", "tool_use", None),
        ('{"a": "', "stop", "END", "stop_sequence", "END"),
        ('{"a": "', "stop", None, "end_turn", None),
        ('{"a": 1} and', "stop", 5, "end_turn", None),
        (None, "stop", None, "end_turn", None),
        (None, "stop", 5, "end_turn", None),
        (None, "stop", "END", "stop_sequence", "END"),
        (None, "length", None, "max_tokens", None),
    ],
)
def test_the_stop_reason_names_the_limit_then_whole_calls_then_a_stop_sequence(
    arguments: str | None, finish: str, stop: str | int | None, reason: str, sequence: str | None
) -> None:
    call: Tokens = [[CallBegin(0, "f")], [CallArguments(0, arguments or "")]]
    tokens: Tokens = [[ContentText("a")]] if arguments is None else call
    for message in received(exchange(tokens, finish, stop).anthropic):
        assert (message.stop_reason, message.stop_sequence) == (reason, sequence)


def test_an_earlier_call_that_is_not_whole_keeps_all_calls_from_being_a_reason() -> None:
    tokens: Tokens = [[CallBegin(0, "f"), CallArguments(0, "{"), CallBegin(1, "g"), CallArguments(1, "{}")]]
    assert received(exchange(tokens).anthropic)[0].stop_reason == "end_turn"


def test_an_empty_answer_has_no_content() -> None:
    for message in received(exchange([[]]).anthropic):
        assert (message.content, message.stop_reason) == ([], "end_turn")


@pytest.mark.parametrize("record", [None, 5])
def test_the_index_of_the_record_is_given_only_if_the_operator_wants_it(record: int | None) -> None:
    end = ended(CALLING, record=record)
    body = json.loads(whole(MessagesForm(head()), CALLING, end))
    assert body.get("record_index") == record
    assert events(streamed(MessagesForm(head()), CALLING, end))[-2].get("record_index") == record


def test_ids_of_calls_are_in_anthropics_form_unless_the_model_wrote_its_own() -> None:
    assert call_id("00ff", CallBegin(0, "f")) == "toolu_00ff"
    assert call_id("00ff", CallBegin(0, "f", "functions.f:0")) == "functions.f:0"


@pytest.mark.parametrize(
    ("error", "raised", "kind"),
    [
        (invalid("top_k: below -1", "top_k"), anthropic.BadRequestError, "invalid_request_error"),
        (ApiError(401, "authentication_error", "no key"), anthropic.AuthenticationError, "authentication_error"),
        (ApiError(404, "not_found_error", "no model"), anthropic.NotFoundError, "not_found_error"),
        (ApiError(413, "invalid_request_error", "large"), anthropic.RequestTooLargeError, "request_too_large"),
        (ApiError(415, "invalid_request_error", "no JSON"), anthropic.APIStatusError, "invalid_request_error"),
        (busy(), anthropic.RateLimitError, "rate_limit_error"),
        (log_unavailable(), anthropic.ServiceUnavailableError, "overloaded_error"),
        (upstream_failed("x"), anthropic.InternalServerError, "api_error"),
    ],
)
def test_the_official_client_raises_its_own_errors(error: ApiError, raised: type[Exception], kind: str) -> None:
    refusing = Exchange(lambda _: json.dumps(error_body(error)).encode(), error.status)
    with pytest.raises(raised) as caught:
        refusing.anthropic.messages.create(**ASKED)
    assert isinstance(caught.value, anthropic.APIStatusError)
    assert caught.value.body == {"type": "error", "error": {"type": kind, "message": error.message}}


def test_a_stream_that_fails_ends_with_an_error_that_the_client_raises() -> None:
    def failing(_: dict[str, Any]) -> bytes:
        form = MessagesForm(head())
        return b"".join([*form.begin(0), *form.parts(0, [ContentText("a")]), *form.error(upstream_failed("x"))])

    with (
        pytest.raises(anthropic.APIStatusError, match="the inference server failed"),
        Exchange(failing).anthropic.messages.stream(**ASKED) as stream,
    ):
        stream.get_final_message()


def test_the_client_reads_a_count_of_tokens() -> None:
    counting = Exchange(lambda _: json.dumps(count_body(12)).encode()).anthropic
    assert counting.messages.count_tokens(model="small", messages=ASKED["messages"]).input_tokens == 12


def test_ids_in_a_form_that_the_models_template_demands_stay() -> None:
    request = MessagesRequest.model_validate(ASKED)
    like_chat: Any = None
    asked = GenerationRequest(
        prompts=[[1]],
        sampling=SamplingParams(max_tokens=5),
        choices=1,
        seed=None,
        stream=False,
        form=like_chat,
    )
    assert request.answered_in_its_form(asked).call_id("00ff", CallBegin(0, "f")) == "toolu_00ff"
    own = replace(asked, call_id=lambda digits, begin: digits[:2])
    assert request.answered_in_its_form(own).call_id("00ff", CallBegin(0, "f")) == "00"
