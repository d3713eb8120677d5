"""Reader of one answer: reasoning, then content and tool calls."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.families import FAMILIES
from weightwarden.logger.sidecar.reading.harmony import read_analysis, read_channels
from weightwarden.logger.sidecar.reading.parts import AnswerPart
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.reasoning import HARMONY, REASONING, read_reasoning
from weightwarden.logger.sidecar.reading.tools import Tools


class TextReader:
    """Reader of one answer from its text (`AnswerReader`)."""

    def __init__(self, reading: Reading, steps: Steps[None]) -> None:
        """A reader at the beginning of an answer.

        Args:
            reading: the answer.
            steps: the steps of its reading.
        """
        self._reading, self._steps = reading, steps
        next(self._steps)

    @property
    def reasoning_tokens(self) -> int:
        """Number of tokens so far that belong to the reasoning, its markers included."""
        return self._reading.cursor.reasoning_tokens

    def add(self, piece: str) -> list[AnswerPart]:
        """The parts that a token's text completes."""
        self._reading.cursor.feed(piece)
        next(self._steps)
        return self._reading.take_parts()

    def end(self, rest: str = "") -> list[AnswerPart]:
        """The parts that are still held back, at the end of the answer.

        Args:
            rest: text that no token completes.
        """
        self._reading.cursor.end(rest)
        next(self._steps, None)
        self._reading.end()
        return self._reading.take_parts()


def reader_of(
    family: str | None,
    reasoning: str | None,
    tools: Sequence[Mapping[str, Any]] = (),
    prompt_text: str = "",
    *,
    whole_calls: bool = False,
    dropped: Collection[str] = (),
) -> TextReader:
    """The reader of one answer.

    Args:
        family: name of the family of the tool calls, or None: calls are content.
        reasoning: name of the family of the reasoning, or None: reasoning is content.
        tools: the tools of the request, in OpenAI's form.
        prompt_text: the rendered prompt, or its end: it may have begun the reasoning.
        whole_calls: whether a call begins only once it is complete; otherwise its arguments come piece by piece.
        dropped: texts of special tokens that are no content; in reasoning and arguments they are the model's words.
    """
    form = None if family is None else FAMILIES[family]
    reading = Reading(
        whole_calls=whole_calls, separators=form is not None and form.separators, dropped=frozenset(dropped)
    )

    def steps() -> Steps[None]:
        thinking = None if reasoning is None else REASONING[reasoning]
        begun = thinking is not None and thinking.begun_by(prompt_text)
        if thinking is HARMONY and begun:
            yield from read_analysis(reading)
        elif thinking is not None and thinking is not HARMONY:
            yield from read_reasoning(reading, thinking, begun=begun)
        if form is not None:
            yield from form.read(reading, Tools(tools))
        elif thinking is HARMONY:
            yield from read_channels(reading)
        else:
            yield from reading.content_before(())

    return TextReader(reading, steps())
