"""Messages of a chat from the input items of a Responses request."""

from collections.abc import Iterable
from typing import Any

from weightwarden.logger.sidecar.wire.responses_api.items import (
    ContentPart,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    InputMessage,
    ReasoningItem,
    Refusal,
)


def chat_messages(instructions: str | None, items: str | Iterable[InputItem]) -> list[dict[str, Any]]:
    """The messages of a chat.

    Reasoning, text and tool calls that follow one another in this order are one message of the assistant, as they were
    one answer. Text after calls joins the message of its calls, so that their results follow it.
    """
    messages: list[dict[str, Any]] = [] if instructions is None else [{"role": "system", "content": instructions}]
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}]
    for item in items:
        last = messages[-1] if messages and messages[-1]["role"] == "assistant" else None
        match item:
            case ReasoningItem():
                messages.append({"role": "assistant", "content": None, "reasoning": _reasoning(item)})
            case FunctionCall():
                if last is None:
                    messages.append(last := {"role": "assistant", "content": None})
                last.setdefault("tool_calls", []).append(_call(item))
            case InputMessage(role="assistant") if last is not None and last["content"] is None:
                last["content"] = _content(item.content)
            case InputMessage():
                messages.append({"role": item.role, "content": _content(item.content)})
            case FunctionCallOutput():
                content = _content(item.output)
                messages.append({"role": "tool", "tool_call_id": item.call_id, "content": content})
    return messages


def _reasoning(item: ReasoningItem) -> str:
    return "".join(part.text for part in item.content or item.summary)


def _call(item: FunctionCall) -> dict[str, Any]:
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def _content(content: str | list[ContentPart]) -> str | list[dict[str, Any]]:
    """A message's content: a text if it is one text, as a client of chats sends it."""
    if isinstance(content, str):
        return content
    if len(content) == 1 and not isinstance(content[0], Refusal):
        return content[0].text
    return [_part(part) for part in content]


def _part(part: ContentPart) -> dict[str, Any]:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.refusal}
    return {"type": "text", "text": part.text}
