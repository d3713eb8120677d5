"""Parts of an answer, in the order of the text from which they are read."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReasoningText:
    """A piece of the reasoning's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ContentText:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegin:
    """The beginning of a tool call.

    Attributes:
        index: number of the call in the answer, from 0.
        name: name of the function.
        own_id: id that the model wrote, in a form that its family defines, or None.
    """

    index: int
    name: str
    own_id: str | None = None


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of the arguments of a tool call: JSON text.

    Attributes:
        index: number of the call in the answer.
        text: the piece.
    """

    index: int
    text: str


AnswerPart = ReasoningText | ContentText | CallBegin | CallArguments


def joined(parts: Iterable[AnswerPart]) -> list[AnswerPart]:
    """The parts, adjacent pieces of one kind as one piece."""
    whole: list[AnswerPart] = []
    pieces: list[str] = []
    for part in parts:
        last = whole[-1] if whole else None
        if isinstance(part, CallBegin) or type(part) is not type(last):  # calls' arguments have a beginning between
            _close(whole, pieces)
            whole.append(part)
        else:
            pieces.append(part.text)
    _close(whole, pieces)
    return whole


def _close(whole: list[AnswerPart], pieces: list[str]) -> None:
    """Adds the pieces to the last part."""
    if pieces:
        last = whole[-1]
        if not isinstance(last, CallBegin):
            whole[-1] = replace(last, text=last.text + "".join(pieces))
        pieces.clear()


class AnswerReader(Protocol):
    """Reader of one answer, token by token.

    The parts of an answer, with adjacent pieces of the same kind joined, do not depend on how its text was split into
    pieces. Text that might begin a marker is held back until a later token decides.
    """

    @property
    def reasoning_tokens(self) -> int:
        """Number of tokens that belong to the reasoning, its markers included."""
        ...

    def add(self, piece: str) -> list[AnswerPart]:
        """The parts that a token's text completes; may be empty."""
        ...

    def end(self, rest: str = "") -> list[AnswerPart]:
        """The parts that are still held back, at the end of the answer. A call that has not begun stays text.

        Args:
            rest: text that no token completes: it is released only at the end.
        """
        ...
