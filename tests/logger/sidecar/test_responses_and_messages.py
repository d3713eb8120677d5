"""The Responses and the Messages API over a running sidecar, through the official clients."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from tokenizers import Tokenizer

from tests.logger.sidecar.official_clients import PROMPT, anthropic_client, asked, openai_client, says
from tests.logger.sidecar.running import MODEL, Sidecar
from tests.logger.sidecar.scripted_upstream import EOS, FIRST, HEAD, Upstream, event, sends


@pytest.fixture
def gpt(sidecar: Sidecar) -> Iterator[openai.OpenAI]:
    with openai_client(sidecar.url) as client:
        yield client


@pytest.fixture
def claude(sidecar: Sidecar) -> Iterator[anthropic.Anthropic]:
    with anthropic_client(sidecar.url) as client:
        yield client


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
