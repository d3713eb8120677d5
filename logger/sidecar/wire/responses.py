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
    """A finished choice. `tokens`: of its answer."""

    index: int
    text: str
    finish_reason: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Responses:
    """Builds the response to one request.

    Attributes:
        chat: whether in the form of /v1/chat/completions. identifier: the sidecar's own. created: Unix time, seconds.
        prompt_tokens: of all prompts together.
    """

    chat: bool
    identifier: str
    created: int
    model: str
    prompt_tokens: int

    def whole(self, choices: Sequence[Choice]) -> bytes:
        """The body of a response that does not stream."""
        made = [
            {
                "index": choice.index,
                **({"message": {"role": "assistant", "content": choice.text}} if self.chat else {"text": choice.text}),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for choice in choices
        ]
        usage = self._usage(sum(choice.tokens for choice in choices))
        return json.dumps({**self._head("chat.completion"), "choices": made, "usage": usage}).encode()

    def begin(self, index: int) -> list[bytes]:
        """The event that begins a choice; completions have none."""
        if not self.chat:
            return []
        return [self._event([self._choice(index, {"role": "assistant", "content": ""}, None)])]

    def tokens(self, index: int) -> "TokenEvents":
        """The events of a choice's tokens."""
        mark = "\0"
        sample = self._event([self._choice(index, {"content": mark} if self.chat else mark, None)])
        before, _, after = sample.partition(json.dumps(mark).encode())
        return TokenEvents(before, after)

    def end(self, index: int, rest: str, finish_reason: str) -> bytes:
        """The event that ends a choice, with the text that only now can be released."""
        delta: Any = ({"content": rest} if rest else {}) if self.chat else rest
        return self._event([self._choice(index, delta, finish_reason)])

    def usage(self, output_tokens: int) -> bytes:
        """The event that a stream ends with where the client asked for the usage."""
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
    """The events of one choice's tokens: what stands before and after each token's text."""

    before: bytes
    after: bytes

    def of(self, pieces: Sequence[str]) -> list[bytes]:
        """One event a token."""
        before, after, quoted = self.before, self.after, _JSON.encode
        return [before + quoted(piece) + after for piece in pieces]


def error_event(body: dict[str, object]) -> bytes:
    """The last event of a stream that failed."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"
