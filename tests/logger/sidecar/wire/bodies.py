"""Bodies of the Responses and the Messages API, and what may become of a body that nobody's client sends."""

from typing import Any

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.wire.messages_api.request import CountTokensRequest, MessagesRequest
from weightwarden.logger.sidecar.wire.requests import ChatRequest, parse
from weightwarden.logger.sidecar.wire.responses_api.request import ResponsesRequest

RESPONSES: dict[str, Any] = {
    "model": "small",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "c", "annotations": []}]},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "e"}]},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    "reasoning": {"effort": "low"},
    "metadata": {"a": "b"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 5,
    "temperature": 1.0,
    "store": False,
    "stop": ["x"],
    "logit_bias": {"5": 1},
}
MESSAGES: dict[str, Any] = {
    "model": "small",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "c", "signature": "d"},
                {"type": "tool_use", "id": "e", "name": "f", "input": {"g": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "e", "content": "h"}]},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1500},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "stop_sequences": ["i"],
    "temperature": 1.0,
}
BODIES = [(ResponsesRequest, RESPONSES), (MessagesRequest, MESSAGES), (CountTokensRequest, MESSAGES)]


def is_answered(kind: type[Any], body: bytes, ignored: set[str] | None) -> bool:
    """Whether a chat is made of a body. Anything that is raised but an ApiError fails the test."""
    try:
        made = parse(kind, body, ignored).chat()
    except ApiError as refusal:
        made = refusal
    if isinstance(made, ChatRequest):
        return True
    assert made.status == 400
    assert made.message.isprintable()
    assert len(made.message) < 1000
    return False
