"""Reading of one choice: from the text of its tokens to parts, and to the events of its response."""

from collections.abc import Callable, Sequence

from weightwarden.logger.sidecar.reading.parts import AnswerPart, AnswerReader, CallBegin, ContentText
from weightwarden.logger.sidecar.wire.answer_form import AnswerForm, ChoiceEnd
from weightwarden.logger.text.ending import Ending


class ChoiceReading:
    """Reading of one choice, token by token.

    Attributes:
        calls: number of tool calls so far.
    """

    def __init__(self, reader: Callable[[], AnswerReader] | None) -> None:
        """The beginning of a choice. All of its text is content if there is no reader."""
        self._reader = None if reader is None else reader()
        self.calls = 0

    @property
    def reasoning_tokens(self) -> int:
        """Number of tokens of the reasoning."""
        return 0 if self._reader is None else self._reader.reasoning_tokens

    def parts(self, pieces: Sequence[str]) -> list[AnswerPart]:
        """The parts that the tokens of these texts complete."""
        if self._reader is None:
            return [ContentText("".join(pieces))]
        return [part for piece in pieces for part in self._counted(self._reader.add(piece))]

    def rest(self, text: str) -> list[AnswerPart]:
        """The parts at the end of the choice, with the text that is released only there."""
        if self._reader is None:
            return [ContentText(text)]
        return self._counted(self._reader.end(text))

    def events(self, form: AnswerForm, index: int, pieces: Sequence[str]) -> list[bytes]:
        """The events of the tokens of these texts."""
        if self._reader is None:
            return form.texts(index, pieces)
        return [event for piece in pieces for event in form.parts(index, self._counted(self._reader.add(piece)))]

    def last_events(self, form: AnswerForm, index: int, text: str) -> tuple[list[bytes], str]:
        """The events before the end of the choice, and the plain text that goes with the end."""
        if self._reader is None:
            return [], text
        return form.parts(index, self.rest(text)), ""

    def _counted(self, parts: list[AnswerPart]) -> list[AnswerPart]:
        self.calls += sum(isinstance(part, CallBegin) for part in parts)
        return parts

    def choice_end(self, ending: Ending, tokens: int, record_index: int | None) -> ChoiceEnd:
        """The end of the choice as its response tells it.

        Args:
            ending: finish reason and stop reason.
            tokens: number of its output tokens.
            record_index: index of its record, or None if the client is not given it.
        """
        return ChoiceEnd(
            finish_reason=ending.finish_reason,
            stop_reason=ending.stop_reason,
            calls=self.calls,
            tokens=tokens,
            reasoning_tokens=self.reasoning_tokens,
            record_index=record_index,
        )
