"""Parts of an answer, in the order of the text from which they are read."""

from dataclasses import dataclass
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
        """The parts that are still held back, at the end of the answer. A call that is not complete stays text.

        Args:
            rest: text that no token completes: it is released only at the end.
        """
        ...
