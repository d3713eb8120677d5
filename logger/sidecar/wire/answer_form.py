"""Forms of answers on the wire: what every form is told, and the protocol that it fulfils."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.reading.parts import (
    AnswerPart,
    CallArguments,
    CallBegin,
    ContentText,
    ReasoningText,
)
from weightwarden.logger.sidecar.wire.logprobs import ChoiceLogprobs


@dataclass(frozen=True, kw_only=True)
class Head:
    """The beginning of a response, made by the sidecar alone.

    Attributes:
        request_id: id of the request.
        created: Unix time, seconds.
        model: the model's name.
        prompt_tokens: tokens of all prompts together.
        call_id: the id of a tool call, from the index of its choice and its beginning.
    """

    request_id: str
    created: int
    model: str
    prompt_tokens: int
    call_id: Callable[[int, CallBegin], str]


@dataclass(frozen=True, kw_only=True)
class ChoiceEnd:
    """The end of a choice.

    Attributes:
        finish_reason: `stop`, `length` or another finish reason of a record.
        stop_reason: the stop string or token id that ended it, or None.
        calls: number of its tool calls.
        tokens: number of its output tokens.
        reasoning_tokens: output tokens of its reasoning.
        record_index: index of its record in the log, or None if the client is not given it.
    """

    finish_reason: str
    stop_reason: str | int | None
    calls: int
    tokens: int
    reasoning_tokens: int
    record_index: int | None


@dataclass
class Call:
    """A tool call: id, name of the function, and arguments as the model wrote them."""

    id: str
    name: str
    arguments: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A choice that is sent whole.

    Attributes:
        index: index of the choice.
        text: text of the answer.
        reasoning: text of its reasoning.
        calls: its tool calls.
        parts: all of it, in the order of the text.
        end: its end.
        logprobs: log probabilities of its tokens, or None.
    """

    index: int
    text: str
    reasoning: str
    calls: Sequence[Call]
    parts: Sequence[AnswerPart]
    end: ChoiceEnd
    logprobs: ChoiceLogprobs | None = None


def collected(index: int, parts: Sequence[AnswerPart], end: ChoiceEnd, head: Head) -> Choice:
    """The choice of these parts."""
    calls = [Call(head.call_id(index, part), part.name) for part in parts if isinstance(part, CallBegin)]
    arguments: list[list[str]] = [[] for _ in calls]
    for part in parts:
        if isinstance(part, CallArguments):
            arguments[part.index].append(part.text)
    for call, pieces in zip(calls, arguments, strict=True):
        call.arguments = "".join(pieces)
    return Choice(
        index=index,
        text="".join(part.text for part in parts if isinstance(part, ContentText)),
        reasoning="".join(part.text for part in parts if isinstance(part, ReasoningText)),
        calls=calls,
        parts=parts,
        end=end,
    )


class AnswerForm(Protocol):
    """Form of one response. Its bytes depend on the head and the tokens alone, never on how the server sent them."""

    def begin(self, index: int) -> list[bytes]:
        """The events that begin a choice; they leave with its first token."""
        ...

    def texts(self, index: int, pieces: Sequence[str]) -> list[bytes]:
        """The events of tokens that are plain text, one a token."""
        ...

    def parts(self, index: int, parts: Sequence[AnswerPart]) -> list[bytes]:
        """The events of one token's parts."""
        ...

    def end(self, index: int, rest: str, end: ChoiceEnd) -> list[bytes]:
        """The events that end a choice, with the plain text that is released only at the end."""
        ...

    def close(self, ends: Sequence[ChoiceEnd]) -> list[bytes]:
        """The last events of a stream, after all choices."""
        ...

    def error(self, error: ApiError) -> list[bytes]:
        """The last events of a stream that failed."""
        ...

    def whole(self, choices: Sequence[Choice]) -> bytes:
        """The body of a response without streaming."""
        ...
