"""Answers of an honest upstream server: what clients get, and what is on record."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.logger.sidecar.running import Sidecar, events_of
from tests.logger.sidecar.scripted_upstream import Upstream, drawn


def text_of(tokenizer: Tokenizer, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text


def test_a_completion_is_the_text_of_the_upstreams_ids_and_is_on_record(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer
) -> None:
    response = sidecar.complete("Once upon a time", max_tokens=12, temperature=0.8, top_p=0.9)
    assert response.status_code == 200, response.text
    asked = upstream.asked[0]
    ids = drawn(asked)
    assert asked["prompt"] == tokenizer.encode("Once upon a time").ids
    body = response.json()
    assert body["choices"] == [
        {"index": 0, "text": text_of(tokenizer, ids), "logprobs": None, "finish_reason": "length", "record_index": 0}
    ]
    assert body["usage"] == {"prompt_tokens": 4, "completion_tokens": 12, "total_tokens": 16}
    [record] = sidecar.records()
    assert record.output_token_ids == ids
    assert record.prompt_token_ids == asked["prompt"]
    assert (record.seed, record.finish_reason, record.stop_reason) == (asked["seed"], "length", None)
    assert (record.sampling.temperature, record.sampling.top_p, record.sampling.max_tokens) == (0.8, 0.9, 12)


def test_every_parameter_is_said_upstream_and_none_is_left_to_its_defaults(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    sidecar.complete([5, 6, 7], max_tokens=3)
    asked = upstream.asked[0]
    seed = asked.pop("seed")
    assert seed == sidecar.seed_of(0)
    assert asked == {
        "model": "upstream-model",
        "prompt": [5, 6, 7],
        "n": 1,
        "stream": True,
        "return_token_ids": True,
        "add_special_tokens": False,
        "echo": False,
        "watermarking": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "min_tokens": 0,
        "max_tokens": 3,
        "stop": [],
        "stop_token_ids": [],
        "ignore_eos": False,
    }


@pytest.mark.parametrize("chat", [True, False])
def test_a_stream_has_one_event_a_token_and_says_the_same(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer, chat: bool
) -> None:
    ask: Any = sidecar.chat if chat else sidecar.complete
    response = ask(stream=True, max_tokens=20, stream_options={"include_usage": True})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, usage, done = events_of(response.text)
    assert done == "[DONE]"
    ids = drawn(upstream.asked[0])
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 20
    choices = [chunk["choices"][0] for chunk in chunks]
    if chat:
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        pieces = [choice["delta"]["content"] for choice in choices[1:-1]]
    else:
        pieces = [choice["text"] for choice in choices[:-1]]
    assert len(pieces) == 20
    assert "".join(pieces) == text_of(tokenizer, ids)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["length"]
    assert sidecar.records()[0].output_token_ids == ids


def test_a_chat_is_rendered_and_tokenized_here(sidecar: Sidecar, upstream: Upstream, model_folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(model_folder)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Was heißt „Straße“? 🙂"},
        {"role": "assistant", "content": "street"},
        {"role": "user", "content": "Danke"},
    ]
    response = sidecar.client.post("/v1/chat/completions", json={"model": "small", "messages": messages, "n": 1})
    assert response.status_code == 200
    wanted = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert upstream.asked[0]["prompt"] == wanted
    assert upstream.asked[0]["max_tokens"] == 8192 - len(wanted)
    assert response.json()["choices"][0]["message"]["role"] == "assistant"


def test_choices_are_drawn_with_one_seed_each_as_the_engine_derives_it(sidecar: Sidecar, upstream: Upstream) -> None:
    response = sidecar.complete([[5], [7, 8]], n=3, max_tokens=4)
    assert response.status_code == 200, response.text
    choices = response.json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(6))
    records = sorted(sidecar.records(), key=lambda r: (r.prompt_token_ids == [7, 8], r.choice_index))
    assert [r.choice_index for r in records] == [0, 1, 2, 0, 1, 2]
    assert [r.seed for r in records] == [sidecar.seed_of(counter, 3) for counter in (0, 0, 0, 1, 1, 1)]
    assert {r.choice_seed() for r in records} == {asked["seed"] for asked in upstream.asked}
    assert all(r.sampling.n == 3 for r in records)
    by_seed = {asked["seed"]: drawn(asked) for asked in upstream.asked}
    assert all(by_seed[r.choice_seed()] == r.output_token_ids for r in records)


def test_a_stream_of_several_choices_holds_each_whole(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer
) -> None:
    response = sidecar.chat(stream=True, n=3, max_tokens=5)
    *chunks, done = events_of(response.text)
    assert done == "[DONE]"
    texts = ["", "", ""]
    for chunk in chunks:
        choice = chunk["choices"][0]
        texts[choice["index"]] += choice["delta"].get("content", "")
    seeds = sorted(asked["seed"] for asked in upstream.asked)
    by_seed = {asked["seed"]: text_of(tokenizer, drawn(asked)) for asked in upstream.asked}
    assert texts == [by_seed[seed] for seed in seeds]


def test_a_greedy_request_has_no_seed(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.complete(temperature=0, n=2, max_tokens=2).status_code == 200
    assert all("seed" not in asked for asked in upstream.asked)
    assert all(r.seed is None for r in sidecar.records())


def test_models_health_and_readiness(sidecar: Sidecar, upstream: Upstream) -> None:
    assert sidecar.client.get("/health").json() == {"status": "ok"}
    assert json.loads(sidecar.await_ready()) == {"status": "ok"}
    assert [card["id"] for card in sidecar.client.get("/v1/models").json()["data"]] == ["small"]
