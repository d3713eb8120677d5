"""The form of answers of /v1/responses."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.reading.parts import AnswerPart, ContentText
from weightwarden.logger.sidecar.wire.answer_form import Choice, ChoiceEnd, Head
from weightwarden.logger.sidecar.wire.responses_api.output import Event, Output

_JSON = msgspec.json.Encoder()


class ResponsesForm:
    """The form of one response of /v1/responses. It has one choice."""

    def __init__(self, head: Head, settings: dict[str, Any]) -> None:
        """A form.

        Args:
            head: beginning of the response.
            settings: the fields of the response that repeat the request.
        """
        self._head, self._settings = head, settings
        self._output = Output(head)
        self._number = 0

    def begin(self, index: int) -> list[bytes]:
        begun = self._response("in_progress")
        return self._events([{"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")])

    def texts(self, index: int, pieces: Sequence[str]) -> list[bytes]:
        return [event for piece in pieces for event in self.parts(index, [ContentText(piece)])]

    def parts(self, index: int, parts: Sequence[AnswerPart]) -> list[bytes]:
        return self._events([event for part in parts for event in self._output.add(part)])

    def end(self, index: int, rest: str, end: ChoiceEnd) -> list[bytes]:
        last = self._output.add(ContentText(rest))
        return self._events([*last, *self._output.close(complete=_is_complete(end))])

    def close(self, ends: Sequence[ChoiceEnd]) -> list[bytes]:
        response = self._ended(ends[0])
        return self._events([{"type": f"response.{response['status']}", "response": response}])

    def error(self, error: ApiError) -> list[bytes]:
        what = {"code": error.code or error.kind, "message": error.message, "param": error.param}
        closing = self._output.close(complete=False)
        failed = {**self._response("failed"), "error": {"code": "server_error", "message": error.message}}
        return self._events(
            [*closing, {"type": "error", **what, **error.body}, {"type": "response.failed", "response": failed}]
        )

    def whole(self, choices: Sequence[Choice]) -> bytes:
        (choice,) = choices
        for part in choice.parts:
            self._output.add(part)
        self._output.close(complete=_is_complete(choice.end))
        return json.dumps(self._ended(choice.end)).encode()

    def _ended(self, end: ChoiceEnd) -> dict[str, Any]:
        reason = None if _is_complete(end) else {"reason": "max_output_tokens"}
        response = self._response("completed" if reason is None else "incomplete")
        response |= {"incomplete_details": reason, "usage": self._usage(end)}
        return response if end.record_index is None else {**response, "record_index": end.record_index}

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": f"resp_{self._head.request_id}",
            "object": "response",
            "created_at": self._head.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._head.model,
            "output": list(self._output.items),
            "usage": None,
            **self._settings,
        }

    def _usage(self, end: ChoiceEnd) -> dict[str, Any]:
        return {
            "input_tokens": self._head.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": end.tokens,
            "output_tokens_details": {"reasoning_tokens": end.reasoning_tokens},
            "total_tokens": self._head.prompt_tokens + end.tokens,
        }

    def _events(self, events: Sequence[Event]) -> list[bytes]:
        first, self._number = self._number, self._number + len(events)
        return [_event(event | {"sequence_number": at}) for at, event in enumerate(events, first)]


def _is_complete(end: ChoiceEnd) -> bool:
    return end.finish_reason != "length"


def _event(body: dict[str, Any]) -> bytes:
    """An event. One that repeats the request may hold text that is not Unicode, which only `json` writes."""
    data = _JSON.encode(body) if "delta" in body else json.dumps(body, separators=(",", ":")).encode()
    return b"event: %s\ndata: %s\n\n" % (body["type"].encode(), data)
