"""A chat's messages in the form that an inference engine passes to a chat template.

The rules are those of vLLM 0.32 (`vllm/renderers/chat_utils.py`, `parse_chat_messages`, and `vllm/renderers/hf.py`,
`safe_apply_chat_template`), so that a chat gets the prompt that the engine would make of it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
"""A message as the client sent it: `role`, and perhaps `content`, `name`, `tool_calls`, `tool_call_id`, `reasoning` and
`tools`.
"""
Part = Mapping[str, Any]
"""A part of a message's content: its `type`, and the field of this type."""
TEXT_OF_PART: Mapping[str, str] = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
"""Part types that are text, and the field with the text."""
PASSED_ON = ("cache_control",)
"""Other fields of a part that templates of parts can read."""
_ATTRIBUTION = "x-anthropic-billing-header"
"""Start of a line that a client adds to system messages and the engine drops. It differs from request to request."""


def conversation_of(messages: Iterable[Message], *, parts: bool) -> list[dict[str, Any]]:
    """A chat's messages in the form that a template takes.

    Args:
        messages: the messages as the client sent them.
        parts: True: content is a list of parts. False: the texts that are not empty are joined by newlines.
    """
    return [_parsed(message, parts) for message in messages]


def without_developer(conversation: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A conversation for a template without the role `developer`: its messages become system messages.

    If a system message is then not the first, all system messages are joined into one at the front.
    """
    renamed = [
        {**{key: item for key, item in message.items() if key != "tools"}, "role": "system"}
        if message["role"] == "developer"
        else message
        for message in conversation
    ]
    system = [message for message in renamed if message["role"] == "system"]
    if len(system) == 1 and renamed[0] is system[0]:
        return renamed
    texts = (_joined(message["content"]) for message in system)
    merged = {"role": "system", "content": "\n\n".join(text for text in texts if text)}
    return [merged, *(message for message in renamed if message["role"] != "system")]


def _parsed(message: Message, parts: bool) -> dict[str, Any]:
    role, content = message["role"], message.get("content")
    given: Iterable[Part] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    if role == "system":
        given = [part for one in given if (part := _without_attribution(one)) is not None]
    pieces = [piece for part in given if (piece := _piece(part)) is not None and (parts or piece["text"])]
    as_parts = parts and role != "tool"
    parsed: dict[str, Any] = {"role": role, "content": pieces if as_parts else _joined(pieces)}
    if role == "assistant" and message.get("tool_calls"):
        parsed["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    if role == "assistant" and (reasoning := _reasoning(message)) is not None:
        parsed |= {"reasoning": reasoning, "reasoning_content": reasoning}
    if role == "tool" and "tool_call_id" in message:
        parsed["tool_call_id"] = message["tool_call_id"]
    if message.get("name") is not None:
        parsed["name"] = message["name"]
    if role == "developer":
        parsed["tools"] = message.get("tools")
    return parsed


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call whose arguments are an object, which is empty for a text that is no JSON object."""
    try:
        arguments = json.loads(call["function"]["arguments"] or "{}")
    except (ValueError, RecursionError):
        arguments = {}
    function = {**call["function"], "arguments": arguments if isinstance(arguments, dict) else {}}
    return {**call, "function": function}


def _piece(part: Part) -> dict[str, Any] | None:
    """A part in the form for templates of parts, or None for one without text."""
    text = part.get(TEXT_OF_PART[part["type"]])
    if text is None:
        return None
    return {"type": "text", "text": text, **{key: part[key] for key in PASSED_ON if key in part}}


def _without_attribution(part: Part) -> Part | None:
    text = part.get("text")
    if part["type"] != "text" or text is None or not text.startswith(_ATTRIBUTION):
        return part
    rest = text.partition("\n")[2]
    return {**part, "text": rest} if rest else None


def _reasoning(message: Message) -> Any:
    reasoning = message.get("reasoning")
    return message.get("reasoning_content") if reasoning is None else reasoning


def _joined(content: str | Iterable[Mapping[str, Any]]) -> str:
    return content if isinstance(content, str) else "\n".join(piece["text"] for piece in content)
