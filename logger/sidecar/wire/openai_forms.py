"""Forms of answers of /v1/chat/completions and /v1/completions, one event a token."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.reading.parts import (
    AnswerPart,
    CallArguments,
    CallBegin,
    ContentText,
    ReasoningText,
)
from weightwarden.logger.sidecar.wire.answer_form import Call, Choice, ChoiceEnd, Head
from weightwarden.logger.sidecar.wire.logprobs import ChoiceLogprobs

DONE = b"data: [DONE]\n\n"
_JSON = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True)
class StreamUsage:
    """The usage that a client wants in a stream: in an event at its end, and in every event of a choice."""

    at_end: bool = False
    always: bool = False


class _OpenAiForm:
    """The common part of both forms."""

    kind: str
    chunk: str
    prefix: str

    def __init__(self, head: Head, usage: StreamUsage | None = None) -> None:
        """A form.

        Args:
            head: beginning of the response.
            usage: the usage that the client wants in a stream.
        """
        self._head, self._usage = head, usage or StreamUsage()
        self._fixed = {
            "id": f"{self.prefix}-{head.request_id}",
            "object": "",
            "created": head.created,
            "model": head.model,
        }
        self._tokens: dict[int, TokenEvents] = {}
        self._sent: dict[int, int] = {}

    def whole(self, choices: Sequence[Choice]) -> bytes:
        made = [
            {
                "index": choice.index,
                **self._answer(choice),
                "logprobs": None if choice.logprobs is None else self._logprobs(choice.logprobs),
                "finish_reason": self._finish(choice.end),
                **_reference(choice.end.record_index),
            }
            for choice in choices
        ]
        usage = self._counts([choice.end for choice in choices])
        body = {**self._fixed, "object": self.kind, "choices": made, "usage": usage}
        if any(choice.logprobs is not None for choice in choices):
            return _JSON.encode(body)
        return json.dumps(body).encode()

    def texts(self, index: int, pieces: Sequence[str]) -> list[bytes]:
        if self._usage.always:
            return [
                self._event([self._choice(index, self._text(piece), None)], self._so_far(index)) for piece in pieces
            ]
        events = self._tokens.get(index)
        if events is None:
            mark = "\0"
            sample = self._event([self._choice(index, self._text(mark), None)])
            before, _, after = sample.partition(json.dumps(mark).encode())
            events = self._tokens[index] = TokenEvents(before, after)
        return events.of(pieces)

    def close(self, ends: Sequence[ChoiceEnd]) -> list[bytes]:
        return [self._event([], self._counts(ends)), DONE] if self._usage.at_end else [DONE]

    def error(self, error: ApiError) -> list[bytes]:
        return [b"data: " + json.dumps(error.body).encode() + b"\n\n"]

    def _answer(self, choice: Choice) -> dict[str, Any]:
        raise NotImplementedError

    def _text(self, text: str) -> Any:
        raise NotImplementedError

    def _logprobs(self, logprobs: ChoiceLogprobs) -> msgspec.Raw:
        raise NotImplementedError

    def _finish(self, end: ChoiceEnd) -> str:
        return end.finish_reason

    def _choice(self, index: int, content: Any, finish_reason: str | None) -> dict[str, Any]:
        field = "text" if isinstance(content, str) else "delta"
        return {"index": index, field: content, "logprobs": None, "finish_reason": finish_reason}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        body = {**self._fixed, "object": self.chunk, "choices": choices}
        if usage is not None:
            body["usage"] = usage
        return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"

    def _so_far(self, index: int, tokens: int = 1) -> dict[str, Any] | None:
        """The usage for the next event of a choice, if the client wants it, after so many more tokens."""
        if not self._usage.always:
            return None
        self._sent[index] = self._sent.get(index, 0) + tokens
        return _usage(self._head.prompt_tokens, self._sent[index])

    def _counts(self, ends: Sequence[ChoiceEnd]) -> dict[str, Any]:
        usage = _usage(self._head.prompt_tokens, sum(end.tokens for end in ends))
        if reasoning := sum(end.reasoning_tokens for end in ends):
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        return usage


class CompletionForm(_OpenAiForm):
    """The form of /v1/completions."""

    kind = chunk = "text_completion"
    prefix = "cmpl"

    def begin(self, index: int) -> list[bytes]:
        return []

    def parts(self, index: int, parts: Sequence[AnswerPart]) -> list[bytes]:
        return self.texts(index, ["".join(part.text for part in parts if isinstance(part, ContentText))])

    def end(self, index: int, rest: str, end: ChoiceEnd) -> list[bytes]:
        choice = self._choice(index, rest, self._finish(end)) | _reference(end.record_index)
        return [self._event([choice], self._so_far(index, 0))]

    def _answer(self, choice: Choice) -> dict[str, Any]:
        return {"text": choice.text}

    def _text(self, text: str) -> Any:
        return text

    def _logprobs(self, logprobs: ChoiceLogprobs) -> msgspec.Raw:
        return logprobs.of_completion()


class ChatForm(_OpenAiForm):
    """The form of /v1/chat/completions."""

    kind, chunk = "chat.completion", "chat.completion.chunk"
    prefix = "chatcmpl"

    def __init__(
        self, head: Head, usage: StreamUsage | None = None, *, fields: "ReasoningFields", named_call: bool = False
    ) -> None:
        """A form.

        Args:
            head: beginning of the response.
            usage: the usage that the client wants in a stream.
            fields: names of the field with the reasoning.
            named_call: whether the request names the tool to call. Its call is then no reason to finish.
        """
        super().__init__(head, usage)
        self._fields, self._named_call = fields, named_call

    def begin(self, index: int) -> list[bytes]:
        delta = {"role": "assistant", "content": ""}
        return [self._event([self._choice(index, delta, None)], self._so_far(index, 0))]

    def parts(self, index: int, parts: Sequence[AnswerPart]) -> list[bytes]:
        usage = self._so_far(index)
        return [self._event([self._choice(index, self._delta(index, part), None)], usage) for part in parts]

    def end(self, index: int, rest: str, end: ChoiceEnd) -> list[bytes]:
        delta = {"content": rest} if rest else {}
        choice = self._choice(index, delta, self._finish(end)) | _reference(end.record_index)
        return [self._event([choice], self._so_far(index, 0))]

    def _answer(self, choice: Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": choice.text}
        if choice.calls:
            message["content"] = choice.text or None
            message["tool_calls"] = [_call(call) for call in choice.calls]
        if choice.reasoning:
            message |= self._fields.of(choice.reasoning)
        return {"message": message}

    def _text(self, text: str) -> Any:
        return {"content": text}

    def _logprobs(self, logprobs: ChoiceLogprobs) -> msgspec.Raw:
        return logprobs.of_chat()

    def _delta(self, index: int, part: AnswerPart) -> dict[str, Any]:
        match part:
            case ContentText(text):
                return {"content": text}
            case ReasoningText(text):
                return self._fields.of(text)
            case CallBegin():
                call = _call(Call(self._head.call_id(index, part), part.name))
                return {"tool_calls": [{"index": part.index, **call}]}
            case CallArguments(at, text):
                return {"tool_calls": [{"index": at, "function": {"arguments": text}}]}

    def _finish(self, end: ChoiceEnd) -> str:
        called = end.calls > 0 and end.finish_reason == "stop" and not self._named_call
        return "tool_calls" if called else end.finish_reason


@dataclass(frozen=True, kw_only=True)
class ReasoningFields:
    """Names of the field of a message that holds its reasoning: vLLM's, and older clients' if it is wanted as well."""

    also_reasoning_content: bool = False
    include: bool = field(default=True)

    def of(self, text: str) -> dict[str, str]:
        """The fields with a piece of reasoning; none where the client does not want it."""
        if not self.include:
            return {}
        return {"reasoning": text} | ({"reasoning_content": text} if self.also_reasoning_content else {})


@dataclass(frozen=True)
class TokenEvents:
    """Builder of the token events of one choice.

    Attributes:
        before: bytes before a token's text.
        after: bytes after a token's text.
    """

    before: bytes
    after: bytes

    def of(self, pieces: Sequence[str]) -> list[bytes]:
        """The events of tokens, one a token."""
        before, after, quoted = self.before, self.after, _JSON.encode
        return [before + quoted(piece) + after for piece in pieces]


def _call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(prompt_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
    }


def _reference(record_index: int | None) -> dict[str, int]:
    """The field of a finished choice that names its record."""
    return {} if record_index is None else {"record_index": record_index}
