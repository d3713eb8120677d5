"""What is not served: every request that could not be logged and replayed, with a clear error and before any work."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream
from weightwarden.logger.sidecar.ignored_fields import MAX_NAMES

REFUSED: dict[str, Any] = {
    "top_logprobs": 5,
    "prompt_logprobs": 1,
    "best_of": 4,
    "suffix": "end",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "response_format": {"type": "json_object"},
    "structured_outputs": {"regex": "a"},
    "guided_json": {},
    "guided_regex": "a",
    "modalities": ["audio"],
    "audio": {"voice": "alloy"},
    "use_beam_search": True,
    "length_penalty": 0.5,
    "thinking_token_budget": 5,
    "return_token_ids": True,
    "vllm_xargs": {"a": 1},
    "logits_processors": ["x"],
    "bad_words": ["x"],
}
NEUTRAL: dict[str, Any] = {
    "logprobs": False,
    "tools": [],
    "tool_choice": "none",
    "response_format": {"type": "text"},
    "store": True,
    "user": "somebody",
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "best_of": 1,
    "echo": False,
}
WRONG: dict[str, tuple[Any, str | None]] = {
    "temperature below 0": ({"temperature": -1}, "temperature"),
    "temperature as text": ({"temperature": "1"}, "temperature"),
    "temperature beyond the engine's": ({"temperature": 2.5}, "temperature"),
    "temperature NaN": ('{"model": "small", "prompt": "a", "temperature": NaN}', "temperature"),
    "top_p 0": ({"top_p": 0}, "top_p"),
    "n 0": ({"n": 0}, "n"),
    "n too large": ({"n": 17}, "n"),
    "max_tokens 0": ({"max_tokens": 0}, "max_tokens"),
    "max_tokens beyond the context": ({"max_tokens": 9000}, "max_tokens"),
    "max_tokens true": ({"max_tokens": True}, "max_tokens"),
    "min_tokens beyond max_tokens": ({"min_tokens": 20, "max_tokens": 10}, "min_tokens"),
    "no token left: the only ones end the answer, and may not": (
        {"allowed_token_ids": [2], "min_tokens": 8, "max_tokens": 8},
        "allowed_token_ids",
    ),
    "no token left, by the request's own stops": (
        {"allowed_token_ids": [5, 6], "stop_token_ids": [6, 5], "min_tokens": 1, "max_tokens": 8},
        "allowed_token_ids",
    ),
    "a penalty that overflows": ({"repetition_penalty": 1e-40}, "repetition_penalty"),
    "a penalty that scales noise by 100": ({"repetition_penalty": 100}, "repetition_penalty"),
    "a penalty just too small": ({"repetition_penalty": 0.499}, "repetition_penalty"),
    "a penalty just too large": ({"repetition_penalty": 2.001}, "repetition_penalty"),
    "stop empty": ({"stop": [""]}, "stop.0"),
    "stop of a broken character": ({"stop": ["\ufffd"]}, "stop.0"),
    "stop tokens beyond the engine's, with the end of sequence": (
        {"stop_token_ids": list(range(100, 228))},
        "stop_token_ids",
    ),
    "too many stops": ({"stop": ["a"] * 17}, "stop"),
    "stop token outside": ({"stop_token_ids": [49152]}, "stop_token_ids"),
    "bias outside": ({"logit_bias": {"49152": 1}}, "logit_bias"),
    "bias too large": ({"logit_bias": {"5": 101}}, "logit_bias.5"),
    "bias of no token": ({"logit_bias": {"x": 1}}, "logit_bias"),
    "prompt missing": ('{"model": "small"}', "prompt"),
    "prompt empty": ({"prompt": []}, "prompt"),
    "prompt of no tokens": ({"prompt": ""}, "prompt"),
    "prompt with one empty": ({"prompt": [[5], []]}, "prompt"),
    "prompt outside the vocabulary": ({"prompt": [49152]}, "prompt"),
    "prompt negative": ({"prompt": [-1]}, "prompt"),
    "prompt too long": ({"prompt": [5] * 8192}, "prompt"),
    "prompt much too long": ({"prompt": "a" * 300_000}, "prompt"),
    "prompt of half a surrogate": ('{"model": "small", "prompt": "\\ud800"}', "prompt"),
    "not an object": ("[]", None),
    "not JSON": ("{", None),
    "nested without end": ("[" * 100_000, None),
    "no UTF-8": (b"\xff\xfe", None),
}


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Any:
    with running(settings_in(tmp_path_factory.mktemp("refusing"), model_folder, "http://127.0.0.1:9")) as sidecar:
        yield sidecar


@pytest.mark.parametrize("field", REFUSED)
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "completion"])
def test_fields_that_could_change_sampling_or_leak_floats_are_refused_by_name(
    refusing: Sidecar, field: str, chat: bool
) -> None:
    response = (refusing.chat if chat else refusing.complete)(**{field: REFUSED[field]})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"].partition(".")[0] == field
    assert error["type"] == "invalid_request_error"
    assert "not served" in error["message"]
    assert refusing.records() == []


@pytest.mark.parametrize(
    ("chat", "asked", "field"),
    [
        (True, {"logprobs": True, "top_logprobs": 5}, "logprobs"),
        (True, {"echo": True}, "echo"),
        (False, {"logprobs": 5}, "logprobs"),
        (False, {"logprobs": 1, "echo": True, "max_tokens": 0}, "logprobs"),
    ],
)
def test_log_probabilities_are_refused_without_a_trusted_server(
    refusing: Sidecar, chat: bool, asked: Any, field: str
) -> None:
    response = (refusing.chat if chat else refusing.complete)(**asked)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field
    assert f"{field} is not served here" in response.json()["error"]["message"]
    assert ("--logprobs-url" in response.json()["error"]["message"]) == (field == "logprobs")
    assert refusing.records() == []


@pytest.mark.parametrize("case", WRONG)
def test_impossible_requests_are_refused_by_field_and_never_reach_server_or_log(refusing: Sidecar, case: str) -> None:
    body, field = WRONG[case]
    if isinstance(body, dict):
        body = json.dumps({"model": "small", "prompt": "Once", **body})
    response = refusing.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == field
    assert refusing.records() == []


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}], "messages.0.content"),
        ([{"type": "input_audio", "input_audio": {}}], "messages.0.content"),
        (None, "messages.0.content"),
        (5, "messages.0.content"),
    ],
)
def test_only_text_is_served(refusing: Sidecar, content: Any, field: str) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": content}]}
    response = refusing.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
REFUSED_MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "tools of a message": ({"role": "developer", "content": "", "tools": [CALL]}, "tools of a message are not served"),
    "a deprecated call": ({"role": "assistant", "function_call": CALL["function"]}, "send it as one of tool_calls"),
    "a user's calls": ({"role": "user", "content": "", "tool_calls": [CALL]}, "not an assistant's"),
    "a custom tool's call": (
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]},
        "'custom' is not served",
    ),
    "arguments that are no text": (
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]},
        "function.arguments",
    ),
}


@pytest.mark.parametrize("case", REFUSED_MESSAGES)
def test_messages_with_other_calls_are_refused(refusing: Sidecar, case: str) -> None:
    message, why = REFUSED_MESSAGES[case]
    response = refusing.client.post("/v1/chat/completions", json={"model": "small", "messages": [message]})
    assert response.status_code == 400
    assert why in response.json()["error"]["message"]


@pytest.mark.parametrize("name", ["messages", "tools", "documents", "chat_template", "tokenize", "return_tensors"])
def test_template_variables_cannot_take_the_place_of_messages(refusing: Sidecar, name: str) -> None:
    response = refusing.chat(chat_template_kwargs={name: []})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "chat_template_kwargs"


def test_fields_that_ask_for_nothing_are_let_pass(sidecar: Sidecar, upstream: Upstream) -> None:
    response = sidecar.chat(max_tokens=1, **{key: value for key, value in NEUTRAL.items() if key != "suffix"})
    assert response.status_code == 200, response.text
    assert not {"user", "metadata", "store", "tools"} & upstream.asked[0].keys()


def test_unknown_fields_are_ignored_and_reported_by_name_once(sidecar: Sidecar, upstream: Upstream) -> None:
    strange = {"sede": 5, "Temperature": 1, "no name\n": 1, "x" * 49: 1, "nothing": None}
    for _ in range(2):
        assert sidecar.complete(max_tokens=1, **strange).status_code == 200
    assert not strange.keys() & upstream.asked[0].keys()
    assert [one["name"] for one in sidecar.events("field ignored")] == ["Temperature", "sede"]
    many = {f"field_{at}": at for at in range(100)}
    assert sidecar.complete(max_tokens=1, **many).status_code == 200
    assert len(sidecar.events("field ignored")) == MAX_NAMES


def test_where_the_operator_says_so_unknown_fields_are_refused_by_name(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    with running(settings_in(tmp_path, model_folder, upstream.url, unknown_fields="refuse")) as sidecar:
        refused = sidecar.chat(sede=5)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "sede"
        words = "sede: not known here, and this server refuses requests with unknown fields"
        assert refused.json()["error"]["message"] == words
        assert sidecar.chat(max_tokens=1, sede=None).status_code == 200
        assert len(upstream.asked) == 1


def test_null_asks_for_nothing_wherever_it_stands(sidecar: Sidecar) -> None:
    messages = [
        {"role": "user", "content": "a", "name": None},
        {
            "role": "assistant",
            "content": "b",
            "refusal": None,
            "tool_calls": None,
            "function_call": None,
            "audio": None,
        },
        {"role": "user", "content": [{"type": "text", "text": "c", "annotations": None}]},
    ]
    body = {"model": "small", "messages": messages, "max_tokens": 1, "reasoning_effort": None, "seed": None}
    options = {"stream": True, "stream_options": {"include_obfuscation": False}}
    assert sidecar.client.post("/v1/chat/completions", json=body).status_code == 200
    assert sidecar.client.post("/v1/chat/completions", json={**body, **options}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/responses/resp_1"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/tokenize"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/chat/completions/chatcmpl-1"),
        ("POST", "/inference/v1/generate"),
    ],
)
def test_every_other_path_is_closed(refusing: Sidecar, method: str, path: str) -> None:
    response = refusing.client.request(method, path, follow_redirects=False)
    assert response.status_code == 404
    assert response.json()["error"]["message"].startswith("there is nothing here; this server has /health, ")


def test_other_methods_are_refused(refusing: Sidecar) -> None:
    assert refusing.client.get("/v1/completions").status_code == 405
    assert refusing.client.post("/v1/models").status_code == 405


def test_another_model_is_not_here(refusing: Sidecar) -> None:
    response = refusing.complete(model="gpt-4")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert error["message"] == "there is no model gpt-4 here; this server serves small"


def test_a_body_that_is_not_json_by_its_type_is_refused(refusing: Sidecar) -> None:
    response = refusing.client.post("/v1/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert response.status_code == 415


def test_a_body_too_large_is_refused(refusing: Sidecar) -> None:
    response = refusing.client.post(
        "/v1/completions", content=b" " * (5 * 2**20), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413


def test_a_speculating_server_serves_temperature_0_alone(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    with running(settings_in(tmp_path, model_folder, upstream.url, speculative_decoding=True)) as sidecar:
        assert sidecar.complete(max_tokens=3, temperature=0).status_code == 200
        refused = sidecar.complete(max_tokens=3, temperature=0.5)
    assert refused.status_code == 400
    assert "speculatively" in refused.json()["error"]["message"]
    assert refused.json()["error"]["param"] == "temperature"
