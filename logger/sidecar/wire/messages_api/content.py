"""Content blocks of a message, and the events of their making."""

from typing import Any

import msgspec

from weightwarden.logger.sidecar.reading.parts import AnswerPart, CallArguments, CallBegin, ContentText
from weightwarden.logger.sidecar.wire.answer_form import Head
from weightwarden.logger.sidecar.wire.messages_api.object_prefix import ObjectPrefix

SIGNATURE = "weightwarden"
"""Signature of every thinking block. Clients send a block back only with one; nothing here reads it."""
Event = dict[str, Any]


class Content:
    """Content of one message, part by part. Adjacent parts of a kind are one block.

    Attributes:
        blocks: the blocks that are closed.
        calls_complete: True while the input of every closed tool call is a whole JSON object.
    """

    def __init__(self, head: Head) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.calls_complete = True
        self._head = head
        self._open: dict[str, Any] | None = None
        self._pieces: list[str] = []
        self._input = ObjectPrefix()

    def add(self, part: AnswerPart) -> list[Event]:
        """The events of a part."""
        if isinstance(part, CallBegin):
            block = {"type": "tool_use", "id": self._head.call_id(0, part), "name": part.name, "input": {}}
            return [*self.close(), *self._begin(block)]
        if not part.text:
            return []
        if isinstance(part, CallArguments):
            text = self._input.add(part.text)
            return [self._delta("input_json_delta", partial_json=text)] if text else []
        kind = "text" if isinstance(part, ContentText) else "thinking"
        events: list[Event] = []
        if self._open is None or self._open["type"] != kind:
            unsigned = {"signature": ""} if kind == "thinking" else {}
            events = [*self.close(), *self._begin({"type": kind, kind: "", **unsigned})]
        self._pieces.append(part.text)
        return [*events, self._delta(f"{kind}_delta", **{kind: part.text})]

    def close(self) -> list[Event]:
        """The events that close the block that is open, if one is."""
        block = self._open
        if block is None:
            return []
        events: list[Event] = []
        if block["type"] == "tool_use":
            block = {**block, "input": msgspec.Raw(self._input.closed().encode())}
            self.calls_complete = self.calls_complete and self._input.complete
        else:
            block = {**block, block["type"]: "".join(self._pieces)}
        if block["type"] == "thinking":
            block["signature"] = SIGNATURE
            events = [self._delta("signature_delta", signature=SIGNATURE)]
        events.append({"type": "content_block_stop", "index": len(self.blocks)})
        self.blocks.append(block)
        self._open = None
        return events

    def _begin(self, block: dict[str, Any]) -> list[Event]:
        self._open, self._pieces, self._input = block, [], ObjectPrefix()
        return [{"type": "content_block_start", "index": len(self.blocks), "content_block": block}]

    def _delta(self, kind: str, **fields: str) -> Event:
        return {"type": "content_block_delta", "index": len(self.blocks), "delta": {"type": kind, **fields}}
