"""Progress of the reasoning with which an answer may begin, by its growing text."""

from weightwarden.logger.record import Reasoning


class ReasoningProgress:
    """Progress of one answer's reasoning. The result after a token does not depend on how the text was split.

    Attributes:
        lasts: whether the reasoning has begun, or might have, and has not ended.
    """

    def __init__(self, reasoning: Reasoning) -> None:
        self._start, self._end = reasoning.start, reasoning.end
        self._begun = not reasoning.start
        self._text = ""  # of an answer that might begin with reasoning; then as much as might begin the end
        self.lasts = True

    def add(self, piece: str) -> bool:
        """True if the token of this text belongs, or might, to the reasoning, whose end it may complete."""
        if not self.lasts:
            return False
        self._text += piece
        if not self._begun:
            text = self._text.lstrip()
            if not text.startswith(self._start):
                self.lasts = self._start.startswith(text)
                return self.lasts
            self._begun, self._text = True, text[len(self._start) :]
        self.lasts = self._end not in self._text
        self._text = self._text[max(0, len(self._text) - len(self._end) + 1) :]
        return True
