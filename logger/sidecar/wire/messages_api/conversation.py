"""Messages of a chat from those of a Messages request."""

import json
from collections.abc import Iterable
from typing import Any

from weightwarden.logger.sidecar.wire.messages_api.blocks import (
    AssistantBlock,
    AssistantMessage,
    Message,
    System,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserBlock,
    UserMessage,
)


def chat_messages(system: System | None, messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The messages of a chat. A tool's result is a message of its own, at its place among the user's texts."""
    made: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": _text(system)}]
    for message in messages:
        if isinstance(message.content, str):
            made.append({"role": message.role, "content": message.content})
        elif isinstance(message, UserMessage):
            made += _users(message.content)
        elif isinstance(message, AssistantMessage):
            made.append(_assistants(message.content))
        else:
            made.append({"role": "system", "content": _text(message.content)})
    return made


def _users(blocks: Iterable[UserBlock]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    texts: list[TextBlock] = []
    for block in blocks:
        if isinstance(block, TextBlock):
            texts.append(block)
            continue
        if texts:
            messages.append({"role": "user", "content": _text(texts)})
            texts = []
        messages.append(_result(block))
    if texts or not messages:
        messages.append({"role": "user", "content": _text(texts)})
    return messages


def _result(block: ToolResultBlock) -> dict[str, Any]:
    content = "" if block.content is None else _text(block.content)
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}


def _assistants(blocks: Iterable[AssistantBlock]) -> dict[str, Any]:
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    thinking = [block.thinking for block in blocks if isinstance(block, ThinkingBlock)]
    calls = [_call(block) for block in blocks if isinstance(block, ToolUseBlock)]
    return {
        "role": "assistant",
        "content": _text(texts) if texts else None,
        **({"reasoning": "".join(thinking)} if thinking else {}),
        **({"tool_calls": calls} if calls else {}),
    }


def _call(block: ToolUseBlock) -> dict[str, Any]:
    function = {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}
    return {"id": block.id, "type": "function", "function": function}


def _text(content: str | list[TextBlock]) -> str | list[dict[str, Any]]:
    """A message's content: a text if it is one text, as a client of chats sends it."""
    if isinstance(content, str):
        return content
    if len(content) == 1:
        return content[0].text
    return [{"type": "text", "text": block.text} for block in content]
