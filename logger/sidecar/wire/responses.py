"""Responses to clients, built from the sidecar's own ids, clock and counts, one event a token."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

DONE = b"data: [DONE]\n\n"
_JSON = msgspec.json.Encoder()


@dataclass(frozen=True)
class Choice:
    """A finished choice.

    Attributes:
        index: index of the choice.
        text: text of the answer.
        finish_reason: reason for its end.
        tokens: number of its output tokens.
        record_index: index of its record in the log, or None if the client is not given it.
    """

    index: int
    text: str
    finish_reason: str
    tokens: int
    record_index: int | None


@dataclass(frozen=True, kw_only=True)
class Responses:
    """Builder of the response to one request.

    Attributes:
        chat: True for the form of /v1/chat/completions.
        identifier: the response's id, made by the sidecar.
        created: Unix time, seconds.
        model: the model's name.
        prompt_tokens: tokens of all prompts together.
    """

    chat: bool
    identifier: str
    created: int
    model: str
    prompt_tokens: int

    def whole(self, choices: Sequence[Choice]) -> bytes:
        """The body of a response without streaming."""
        made = [
            {
                "index": choice.index,
                **({"message": {"role": "assistant", "content": choice.text}} if self.chat else {"text": choice.text}),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
                **_reference(choice.record_index),
            }
            for choice in choices
        ]
        usage = self._usage(sum(choice.tokens for choice in choices))
        return json.dumps({**self._head("chat.completion"), "choices": made, "usage": usage}).encode()

    def begin(self, index: int) -> list[bytes]:
        """The event that begins a choice; none for completions."""
        if not self.chat:
            return []
        return [self._event([self._choice(index, {"role": "assistant", "content": ""}, None)])]

    def tokens(self, index: int) -> "TokenEvents":
        """The builder of a choice's token events."""
        mark = "\0"
        sample = self._event([self._choice(index, {"content": mark} if self.chat else mark, None)])
        before, _, after = sample.partition(json.dumps(mark).encode())
        return TokenEvents(before, after)

    def end(self, index: int, rest: str, finish_reason: str, record_index: int | None) -> bytes:
        """The event that ends a choice, with the text that is released only at the end."""
        delta: Any = ({"content": rest} if rest else {}) if self.chat else rest
        return self._event([self._choice(index, delta, finish_reason) | _reference(record_index)])

    def usage(self, output_tokens: int) -> bytes:
        """The last event of a stream whose client asked for the usage."""
        return self._event([], usage=self._usage(output_tokens))

    def _choice(self, index: int, content: Any, finish_reason: str | None) -> dict[str, Any]:
        field = "delta" if self.chat else "text"
        return {"index": index, field: content, "logprobs": None, "finish_reason": finish_reason}

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        body = {**self._head("chat.completion.chunk"), "choices": choices, **more}
        return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"

    def _head(self, chat_object: str) -> dict[str, Any]:
        return {
            "id": self.identifier,
            "object": chat_object if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
        }

    def _usage(self, output_tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": self.prompt_tokens + output_tokens,
        }


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


def _reference(record_index: int | None) -> dict[str, int]:
    """The field of a finished choice that names its record."""
    return {} if record_index is None else {"record_index": record_index}


def error_event(body: dict[str, object]) -> bytes:
    """The last event of a failed stream."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"
