"""The form of answers and errors of /v1/messages, and of counts of /v1/messages/count_tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.reading.parts import AnswerPart, CallBegin, ContentText
from weightwarden.logger.sidecar.wire.answer_form import Choice, ChoiceEnd, Head
from weightwarden.logger.sidecar.wire.messages_api.content import Content, Event

_JSON = msgspec.json.Encoder()
_ERROR_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def call_id(digits: str, begin: CallBegin) -> str:
    """The id of a tool call in Anthropic's form, or the one that the model wrote."""
    return begin.own_id or f"toolu_{digits}"


def error_body(error: ApiError) -> dict[str, Any]:
    """The body of an error in Anthropic's form."""
    kind = _ERROR_TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def count_body(prompt_tokens: int) -> dict[str, int]:
    """The body of a response to /v1/messages/count_tokens."""
    return {"input_tokens": prompt_tokens}


class MessagesForm:
    """The form of one response of /v1/messages. It has one choice."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._content = Content(head)

    def begin(self, index: int) -> list[bytes]:
        usage = self._usage(0, 0)
        return _events(
            [{"type": "message_start", "message": self._message(usage, stop_reason=None, stop_sequence=None)}]
        )

    def texts(self, index: int, pieces: Sequence[str]) -> list[bytes]:
        return [event for piece in pieces for event in self.parts(index, [ContentText(piece)])]

    def parts(self, index: int, parts: Sequence[AnswerPart]) -> list[bytes]:
        return _events([event for part in parts for event in self._content.add(part)])

    def end(self, index: int, rest: str, end: ChoiceEnd) -> list[bytes]:
        return _events([*self._content.add(ContentText(rest)), *self._content.close()])

    def close(self, ends: Sequence[ChoiceEnd]) -> list[bytes]:
        (end,) = ends
        usage = self._usage(end.tokens, end.reasoning_tokens)
        last = {"type": "message_delta", "delta": self._stop(end), "usage": usage, **_reference(end)}
        return _events([last, {"type": "message_stop"}])

    def error(self, error: ApiError) -> list[bytes]:
        return _events([error_body(error)])

    def whole(self, choices: Sequence[Choice]) -> bytes:
        (choice,) = choices
        for part in choice.parts:
            self._content.add(part)
        self._content.close()
        end = choice.end
        message = self._message(self._usage(end.tokens, end.reasoning_tokens), **self._stop(end))
        return _JSON.encode(message | _reference(end))

    def _message(self, usage: dict[str, Any], *, stop_reason: str | None, stop_sequence: str | None) -> dict[str, Any]:
        return {
            "id": f"msg_{self._head.request_id}",
            "type": "message",
            "role": "assistant",
            "model": self._head.model,
            "content": list(self._content.blocks),
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "usage": usage,
        }

    def _stop(self, end: ChoiceEnd) -> dict[str, Any]:
        """The reason for the end. A call that is not complete must not run, and so is no reason."""
        if end.finish_reason == "length":
            return {"stop_reason": "max_tokens", "stop_sequence": None}
        if end.calls and self._content.calls_complete:
            return {"stop_reason": "tool_use", "stop_sequence": None}
        if isinstance(end.stop_reason, str):
            return {"stop_reason": "stop_sequence", "stop_sequence": end.stop_reason}
        return {"stop_reason": "end_turn", "stop_sequence": None}

    def _usage(self, tokens: int, reasoning_tokens: int) -> dict[str, Any]:
        return {
            "input_tokens": self._head.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens,
            "output_tokens_details": {"thinking_tokens": reasoning_tokens},
        }


def _events(events: Sequence[Event]) -> list[bytes]:
    return [b"event: %s\ndata: %s\n\n" % (event["type"].encode(), _JSON.encode(event)) for event in events]


def _reference(end: ChoiceEnd) -> dict[str, int]:
    """The field of a finished message that names its record."""
    return {} if end.record_index is None else {"record_index": end.record_index}
