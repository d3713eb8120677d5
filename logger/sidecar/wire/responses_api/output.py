"""Output items of a response, and the events of their making."""

import json
from typing import Any

from weightwarden.logger.sidecar.reading.parts import (
    AnswerPart,
    CallArguments,
    CallBegin,
    ContentText,
    ReasoningText,
)
from weightwarden.logger.sidecar.wire.answer_form import Head

Event = dict[str, Any]
"""An event: its type and its fields, without its number."""


class Output:
    """Output of one response, part by part.

    Adjacent parts of a kind are one item. The id of an item is made of the request's id and the item's index.

    Attributes:
        items: the items that are closed.
    """

    def __init__(self, head: Head) -> None:
        self.items: list[dict[str, Any]] = []
        self._head = head
        self._open: dict[str, Any] | None = None
        self._pieces: list[str] = []

    def add(self, part: AnswerPart) -> list[Event]:
        """The events of a part."""
        if isinstance(part, CallBegin):
            return [*self.close(), *self._begin_call(part)]
        if not part.text:
            return []
        events: list[Event] = []
        if not isinstance(part, CallArguments) and (self._open is None or self._open["type"] != _item_type(part)):
            events = [*self.close(), *self._begin_text(part)]
        self._pieces.append(part.text)
        events.append(self._event(_DELTA[type(part)], delta=part.text))
        return events

    def close(self, *, complete: bool = True) -> list[Event]:
        """The events that close the item that is open, if one is. A call is complete if its arguments are JSON."""
        item, text = self._open, "".join(self._pieces)
        if item is None:
            return []
        if item["type"] == "function_call":
            events = [self._event("response.function_call_arguments.done", arguments=text, name=item["name"])]
            done = {**item, "arguments": text}
            complete = complete and _is_object(text)
        else:
            part = _text_part(item["type"], text)
            events = [
                self._event(f"response.{part['type']}.done", text=text),
                self._event("response.content_part.done", part=part),
            ]
            done = {**item, "content": [part]}
        done["status"] = "completed" if complete else "incomplete"
        events.append({"type": "response.output_item.done", "output_index": len(self.items), "item": done})
        self.items.append(done)
        self._open = None
        return events

    def _begin_call(self, part: CallBegin) -> list[Event]:
        call = {"call_id": self._head.call_id(0, part), "name": part.name, "arguments": ""}
        return self._begin("fc", {"type": "function_call", **call})

    def _begin_text(self, part: ContentText | ReasoningText) -> list[Event]:
        if isinstance(part, ContentText):
            events = self._begin("msg", {"type": "message", "role": "assistant", "content": []})
        else:
            events = self._begin("rs", {"type": "reasoning", "summary": [], "content": []})
        return [*events, self._event("response.content_part.added", part=_text_part(_item_type(part), ""))]

    def _begin(self, prefix: str, fields: dict[str, Any]) -> list[Event]:
        index = len(self.items)
        self._open = {"id": f"{prefix}_{self._head.request_id}_{index}", "status": "in_progress", **fields}
        self._pieces = []
        return [{"type": "response.output_item.added", "output_index": index, "item": self._open}]

    def _event(self, kind: str, **fields: Any) -> Event:
        """An event of the item that is open."""
        assert self._open is not None
        event = {"type": kind, "item_id": self._open["id"], "output_index": len(self.items), **fields}
        if self._open["type"] != "function_call":
            event["content_index"] = 0
        if kind in _WITH_LOGPROBS:
            event["logprobs"] = []
        return event


_DELTA: dict[type, str] = {
    ContentText: "response.output_text.delta",
    ReasoningText: "response.reasoning_text.delta",
    CallArguments: "response.function_call_arguments.delta",
}
_WITH_LOGPROBS = ("response.output_text.delta", "response.output_text.done")


def _item_type(part: ContentText | ReasoningText) -> str:
    return "message" if isinstance(part, ContentText) else "reasoning"


def _text_part(item_type: str, text: str) -> dict[str, Any]:
    if item_type == "message":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "reasoning_text", "text": text}


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
