"""Whole results of a reading, joined from its parts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from weightwarden.logger.sidecar.reading.parts import (
    AnswerPart,
    AnswerReader,
    CallArguments,
    CallBegin,
    ContentText,
    ReasoningText,
    joined,
)


@dataclass(frozen=True)
class Parsed:
    """The parts of an answer, each kind joined.

    Attributes:
        reasoning: text of the reasoning.
        content: text of the content.
        calls: name and arguments of each call.
    """

    reasoning: str
    content: str
    calls: tuple[tuple[str, str], ...]


def read_parts(reader: AnswerReader, pieces: Iterable[str], rest: str = "") -> list[AnswerPart]:
    """The parts of an answer in these pieces, adjacent pieces of one kind joined."""
    parts = [part for piece in pieces for part in reader.add(piece)]
    return joined([*parts, *reader.end(rest)])


def parsed(parts: Sequence[AnswerPart]) -> Parsed:
    """The parts joined."""
    calls: list[tuple[str, list[str]]] = []
    for part in parts:
        if isinstance(part, CallBegin):
            calls.append((part.name, []))
        elif isinstance(part, CallArguments):
            calls[part.index][1].append(part.text)
    return Parsed(
        "".join(part.text for part in parts if isinstance(part, ReasoningText)),
        "".join(part.text for part in parts if isinstance(part, ContentText)),
        tuple((name, "".join(pieces)) for name, pieces in calls),
    )


def split(text: str, random: Random, longest: int = 8) -> list[str]:
    """The text in random pieces, some of them empty."""
    pieces: list[str] = []
    at = 0
    while at < len(text):
        length = random.randint(0, longest)
        pieces.append(text[at : at + length])
        at += length
    return pieces


MakeReader = Callable[[], AnswerReader]
"""A function that makes the reader of one answer."""
