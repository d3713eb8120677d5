"""Fields as real clients send them: accepted where they ask for nothing that is not served, else refused by name."""

import json
from typing import Any

import pytest

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.wire.lean_json import SMALL_BYTES
from weightwarden.logger.sidecar.wire.neutral_fields import NEUTRAL
from weightwarden.logger.sidecar.wire.requests import ChatRequest, CompletionRequest, parse

VLLM: dict[str, Any] = {
    "frequency_penalty": None,
    "logit_bias": None,
    "n": 1,
    "presence_penalty": None,
    "seed": None,
    "stop": [],
    "stream": False,
    "stream_options": None,
    "temperature": None,
    "top_p": None,
    "user": None,
    "use_beam_search": False,
    "top_k": None,
    "min_p": None,
    "repetition_penalty": None,
    "watermarking": None,
    "length_penalty": 1.0,
    "stop_token_ids": [],
    "include_stop_str_in_output": False,
    "ignore_eos": False,
    "min_tokens": 0,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "truncate_prompt_tokens": None,
    "truncation_side": None,
    "allowed_token_ids": None,
    "prompt_logprobs": None,
    "logprob_token_ids": None,
    "bad_words": [],
    "response_format": None,
    "structured_outputs": None,
    "priority": 0,
    "request_id": "0e1f0f4c1f2b4d6ea9f8",
    "session_id": None,
    "return_tokens_as_token_ids": None,
    "return_token_ids": None,
    "return_token_offsets": False,
    "mm_payload": "tensors",
    "return_mm_kwargs": None,
    "cache_salt": None,
    "kv_transfer_params": None,
    "ec_transfer_params": None,
    "vllm_xargs": None,
    "repetition_detection": None,
    "thinking_token_budget": None,
    "stream_interval": None,
    "echo": False,
}
"""Fields of both requests of vLLM 0.32 (`vllm/entrypoints/openai/*/protocol.py`), with their defaults."""
VLLM_CHAT: dict[str, Any] = {
    **VLLM,
    "logprobs": False,
    "top_logprobs": 0,
    "max_tokens": None,
    "max_completion_tokens": None,
    "tools": None,
    "tool_choice": "none",
    "reasoning_effort": None,
    "include_reasoning": True,
    "parallel_tool_calls": True,
    "add_generation_prompt": True,
    "continue_final_message": False,
    "add_special_tokens": False,
    "documents": None,
    "chat_template": None,
    "chat_template_kwargs": None,
    "media_io_kwargs": None,
    "mm_processor_kwargs": None,
    "routed_experts_prompt_start": 0,
    "return_prompt_text": None,
}
VLLM_COMPLETION: dict[str, Any] = {
    **VLLM,
    "logprobs": None,
    "max_tokens": 16,
    "suffix": None,
    "prompt_embeds": None,
    "add_special_tokens": True,
}
ACCEPTED: dict[str, Any] = {
    "guidellm's usage": {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    "store": {"store": True},
    "verbosity": {"verbosity": "low"},
    "verbosity of a later day": {"verbosity": "xhigh"},
    "a cache's retention": {"prompt_cache_retention": "24h"},
    "a cache's salt": {"cache_salt": "tenant"},
    "vLLM's priority": {"priority": 5},
    "a prediction": {"prediction": {"type": "content", "content": "x"}},
    "a whole float": {"top_k": 40.0, "n": 1.0, "max_tokens": 5.0, "min_tokens": 1.0, "seed": 7.0},
    "whole floats in lists": {"stop_token_ids": [5.0, 6], "allowed_token_ids": [7.0]},
}
UNWHOLE: list[Any] = [40.5, float("inf"), float("nan"), True, "40", [40]]


def chat(**more: Any) -> Any:
    return body(messages=[{"role": "user", "content": "a"}], **more)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "small", **fields}).encode()


@pytest.mark.parametrize("padding", [0, SMALL_BYTES], ids=["small", "large"])
def test_vllms_own_fields_at_their_defaults_are_accepted(padding: int) -> None:
    assert parse(ChatRequest, chat(**VLLM_CHAT) + b" " * padding).max_tokens is None
    assert parse(CompletionRequest, body(prompt="a", **VLLM_COMPLETION) + b" " * padding).max_tokens == 16


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_clients_send_beside_a_chat_is_accepted(case: str) -> None:
    ignored: set[str] = set()
    parse(ChatRequest, chat(**ACCEPTED[case]), ignored)
    parse(CompletionRequest, body(prompt="a", **ACCEPTED[case]))
    assert ignored == set()


def test_whole_floats_are_integers() -> None:
    asked = parse(CompletionRequest, body(prompt=[5.0, 6], top_k=40.0, seed=2.0**60, stop_token_ids=[3.0]))
    assert (asked.prompt, asked.top_k, asked.seed, asked.stop_token_ids) == ([5, 6], 40, 2**60, [3])
    assert [type(one) for one in (asked.prompt[0], asked.top_k, asked.seed, asked.stop_token_ids[0])] == [int] * 4
    assert parse(CompletionRequest, body(prompt=[[5.0], [6.0, 7]])).prompts() == [[5], [6, 7]]
    large = body(prompt=[5.0] * 5000)
    assert parse(CompletionRequest, large).prompt == [5] * 5000


@pytest.mark.parametrize("value", UNWHOLE, ids=str)
@pytest.mark.parametrize("field", ["top_k", "n", "max_tokens", "seed"])
def test_what_is_no_whole_number_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ApiError) as refused:
        parse(CompletionRequest, body(prompt="a", **{field: value}))
    assert refused.value.param == field


@pytest.mark.parametrize("value", [5.5, True, "5", -1.0, 2.0**31], ids=str)
def test_what_is_no_token_id_is_refused(value: Any) -> None:
    for field, where in (("prompt", [value]), ("prompt", [[value]]), ("stop_token_ids", [value])):
        if (field, value) == ("prompt", "5"):
            continue  # a text
        with pytest.raises(ApiError):
            parse(CompletionRequest, body(**{"prompt": "a", field: where}))


def test_equal_limits_of_the_answer_are_one() -> None:
    asked = parse(ChatRequest, chat(max_tokens=5, max_completion_tokens=5.0))
    assert asked.max_tokens == asked.max_completion_tokens == 5


@pytest.mark.parametrize("field", sorted(NEUTRAL.keys() - ChatRequest.model_fields.keys()))
def test_a_known_field_that_would_change_the_answer_is_refused_though_unknown_ones_are_ignored(field: str) -> None:
    with pytest.raises(
        ApiError, match=f"^{field} is not served here, and the answer would be another without it"
    ) as refused:
        parse(ChatRequest, chat(**{field: {"of": "no known value"}}), set())
    assert refused.value.param == field
    parse(ChatRequest, chat(**{field: None}))
    for value in NEUTRAL[field]:
        parse(ChatRequest, chat(**{field: value}))


def test_unknown_fields_are_ignored_and_named_or_refused() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "a", "etag": "x"}], "ts": 5, "meta": None}
    asked = body(messages=[message], sede=5, stream_options={"include_use": True}, nothing=None)
    ignored: set[str] = set()
    request = parse(ChatRequest, asked, ignored)
    assert ignored == {"sede", "ts", "etag", "include_use"}
    assert request.messages[0].given() == {"role": "user", "content": [{"type": "text", "text": "a"}]}
    with pytest.raises(
        ApiError, match="not known here, and this server refuses requests with unknown fields"
    ) as refused:
        parse(ChatRequest, chat(sede=5, nothing=None))
    assert refused.value.param == "sede"
    with pytest.raises(ApiError):
        parse(ChatRequest, asked)


def test_a_field_with_another_name_in_json_is_known() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string"}}}
    ignored: set[str] = set()
    request = parse(ChatRequest, chat(response_format=form), ignored)
    assert ignored == set()
    assert '"string"' in request.response_format.model_dump_json()


def test_an_error_beside_an_ignored_field_is_the_error() -> None:
    with pytest.raises(ApiError, match="temperature") as refused:
        parse(ChatRequest, chat(sede=5, temperature=-1), set())
    assert refused.value.param == "temperature"


def test_more_fields_than_a_request_needs_are_refused_though_they_are_ignored() -> None:
    with pytest.raises(ApiError, match="more than 128 fields"):
        parse(ChatRequest, chat(**{f"k{at}": 1 for at in range(200)}), set())


def test_messages_as_sdks_send_them_back() -> None:
    """An assistant's message of OpenAI's SDK with all its fields, and text parts of Anthropic's and LiteLLM's."""
    echoed: dict[str, Any] = {
        "role": "assistant",
        "content": "b",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
        "reasoning_content": None,
        "provider_specific_fields": None,
    }
    cached = {"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}}
    output = {"type": "output_text", "text": "d", "annotations": [], "logprobs": []}
    messages = [
        {"role": "system", "content": [cached]},
        {"role": "user", "content": "a"},
        echoed,
        {"role": "assistant", "content": [output]},
        {"role": "user", "content": [{"type": "text", "text": "e", "annotations": []}]},
    ]
    parse(ChatRequest, body(messages=messages))
