"""One answer in every wire form, whole and streamed, and what all forms have in common."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.logger.sidecar.running import MODEL, Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import EOS, HEAD, Answer, Upstream, event
from weightwarden.logger.text.tokenizer import read_tokenizer

TEXT = "Hello, and good day."


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream) -> Iterator[Sidecar]:
    shared_upstream.answer = saying(model_folder, TEXT)
    with running(settings_in(tmp_path_factory.mktemp("wired"), model_folder, shared_upstream.url)) as sidecar:
        yield sidecar


def saying(model_folder: Path, text: str) -> Answer:
    """An answer of this text, a token an event."""
    ids = [*read_tokenizer(model_folder).encode(text, add_special_tokens=False).ids, EOS]

    async def answer(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for token in ids:
            yield event([token], "stop" if token == EOS else None)
        yield b"data: [DONE]\n\n"

    return answer


BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi", "max_tokens": 30},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 30},
}


def text_of(path: str, answer: dict[str, Any]) -> str:
    """The text of a whole answer."""
    if path == "/v1/responses":
        return str(answer["output"][0]["content"][0]["text"])
    if path == "/v1/messages":
        return str(answer["content"][0]["text"])
    choice = answer["choices"][0]
    return str(choice["text"] if path == "/v1/completions" else choice["message"]["content"])


def piece_of(path: str, event: dict[str, Any]) -> str:
    """The text that an event of a stream adds."""
    if path == "/v1/responses":
        return str(event["delta"]) if event["type"] == "response.output_text.delta" else ""
    if path == "/v1/messages":
        return str(event["delta"].get("text", "")) if event["type"] == "content_block_delta" else ""
    if not event["choices"]:
        return ""
    choice = event["choices"][0]
    return str(choice["text"] if path == "/v1/completions" else choice["delta"].get("content") or "")


def events_of(body: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("path", BODIES)
def test_every_wire_gives_the_same_text_whole_and_streamed_from_one_kind_of_record(wired: Sidecar, path: str) -> None:
    before = len(wired.records())
    whole = wired.client.post(path, json={"model": MODEL, **BODIES[path]})
    assert whole.status_code == 200, whole.text
    streamed = wired.client.post(path, json={"model": MODEL, "stream": True, **BODIES[path]})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert text_of(path, whole.json()) == TEXT
    assert "".join(piece_of(path, one) for one in events_of(streamed.text)) == TEXT
    records = wired.records()[before:]
    assert len(records) == 2
    assert records[0].output_token_ids == records[1].output_token_ids


@pytest.mark.parametrize("path", BODIES)
def test_every_wire_names_its_own_field_in_its_own_form_of_errors(wired: Sidecar, path: str) -> None:
    refused = wired.client.post(path, json={"model": MODEL, **BODIES[path], "temperature": "hot"})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert "temperature" in error["message"]
    assert (refused.json().get("type") == "error") == (path == "/v1/messages")


def test_the_tokens_of_a_message_are_counted_as_they_are_served(wired: Sidecar) -> None:
    asked = {"model": MODEL, **BODIES["/v1/messages"]}
    counted = wired.client.post("/v1/messages/count_tokens", json={k: v for k, v in asked.items() if k != "max_tokens"})
    assert counted.json() == {
        "input_tokens": wired.client.post("/v1/messages", json=asked).json()["usage"]["input_tokens"]
    }
