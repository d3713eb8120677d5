"""The growing text of an answer, as a reader consumes it."""

import re
from collections import deque
from collections.abc import Callable, Collection, Generator
from typing import TypeVar

from weightwarden.logger.sidecar.reading.json_value import JsonValue
from weightwarden.logger.sidecar.reading.markers import Markers, search_for

_T = TypeVar("_T")
Steps = Generator[None, None, _T]
"""Reading in steps: a generator that pauses where it needs more text, and returns what it has read."""

_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"[\w.:/-]+")
MAX_NAME_CHARACTERS = 256


class MalformedCall(Exception):
    """Text that began like a tool call and is none."""


class CutCall(MalformedCall):
    """Text that began like a tool call, until the answer ended."""


class Cursor:
    """The text of one answer: what was consumed, and what was fed and is not consumed yet.

    What was fed and not consumed stays short, whatever the text, so that reading takes linear time.

    Attributes:
        ended: whether no text follows.
        reasoning_tokens: number of tokens of which text belongs to the reasoning, or which have none and lie within it.
    """

    def __init__(self) -> None:
        self.ended = False
        self.reasoning_tokens = 0
        self._text, self._at = "", 0
        self._held: list[str] | None = None
        self._fed = self._consumed = 0
        self._tokens: deque[tuple[int, int]] = deque()  # first and last place of those that are not consumed yet

    def feed(self, piece: str) -> None:
        """The text of the next token."""
        self._text, self._at = self._text[self._at :] + piece, 0
        self._tokens.append((self._fed, self._fed + len(piece)))
        self._fed += len(piece)

    def end(self, rest: str) -> None:
        """The end of the answer, with text that no token completes."""
        self._text, self._at = self._text[self._at :] + rest, 0
        self._fed += len(rest)
        self.ended = True

    def take(self, count: int, *, reasoning: bool = False) -> str:
        """The next characters, consumed.

        Args:
            count: number of characters, all of which were fed.
            reasoning: whether they belong to the reasoning; of text that is held, `release` says it.
        """
        text = self._text[self._at : self._at + count]
        self._at += count
        self._consumed += count
        if self._held is None:
            self._count(reasoning=reasoning)
        else:
            self._held.append(text)
        return text

    def hold(self) -> None:
        """From here on, consumed text is held until it is released."""
        self._held = []

    def release(self, *, reasoning: bool = False) -> str:
        """The text that was consumed while held; nothing is held after it.

        Args:
            reasoning: whether it belongs to the reasoning.
        """
        held, self._held = self._held or [], None
        self._count(reasoning=reasoning)
        return "".join(held)

    def space(self) -> Steps[str]:
        """The white space that follows, consumed."""
        pieces: list[str] = []
        while True:
            found = _SPACE.match(self._text, self._at)
            if found is not None:
                pieces.append(self.take(found.end() - found.start()))
            if self._at < len(self._text) or self.ended:
                return "".join(pieces)
            yield

    def follows(self, *literals: str) -> Steps[str | None]:
        """The first of the literals with which the text goes on, not consumed, or None."""
        longest = max(map(len, literals))
        while True:
            following = self._text[self._at : self._at + longest]
            for literal in literals:
                if following.startswith(literal):
                    return literal
            if self.ended or not any(literal.startswith(following) for literal in literals):
                return None
            yield

    def choose(self, *literals: str) -> Steps[str]:
        """The first of the literals with which the text goes on, consumed.

        Raises:
            MalformedCall: it goes on with none of them.
        """
        literal = yield from self.ahead(*literals)
        return self.take(len(literal))

    def ahead(self, *literals: str) -> Steps[str]:
        """The first of the literals with which the text goes on, not consumed.

        Raises:
            MalformedCall: it goes on with none of them.
        """
        literal = yield from self.follows(*literals)
        if literal is None:
            rest = self._text[self._at : self._at + max(map(len, literals))]
            if self.ended and any(one.startswith(rest) for one in literals):
                self.take(len(rest))
            raise self.fault()
        return literal

    def fault(self) -> MalformedCall:
        """The error where the text does not go on as a call does, or where the answer ends before it can."""
        return CutCall() if self.ended and self._at == len(self._text) else MalformedCall()

    def name(self) -> Steps[str]:
        """The name that follows, consumed: letters, digits and _ . : / -.

        Raises:
            MalformedCall: there is none, or it is too long, or nothing follows it.
        """
        name = yield from self._short(_NAME)
        if self._at == len(self._text):
            raise self.fault()
        return name

    def line(self, end: str) -> Steps[str]:
        """The text in this line before an end marker of one character, consumed; the marker follows.

        Raises:
            MalformedCall: there is none, or it is too long, or the marker is missing.
        """
        text = yield from self._short(re.compile(rf"[^{re.escape(end)}\n]+"))
        yield from self.ahead(end)
        return text

    def _short(self, pattern: re.Pattern[str]) -> Steps[str]:
        """The characters that follow and match, consumed."""
        pieces: list[str] = []
        left = MAX_NAME_CHARACTERS
        while True:
            found = pattern.match(self._text, self._at)
            if found is not None:
                count = min(found.end() - found.start(), left + 1)
                pieces.append(self.take(count))
                left -= count
            if left < 0:
                raise MalformedCall
            if self._at < len(self._text) or self.ended:
                if not pieces:
                    raise self.fault()
                return "".join(pieces)
            yield

    def json(self, say: Callable[[str], None]) -> Steps[bool]:
        """True if a JSON value follows. Its text is consumed piece by piece, up to the end or the first fault.

        Args:
            say: is called with each piece.
        """
        value = JsonValue()
        while True:
            if (end := value.feed(self._text, self._at)) > self._at:
                say(self.take(end - self._at))
            if self.ended:
                value.end()
            if value.done or value.broken or self.ended:
                return value.done
            yield

    def until(
        self, markers: Collection[str] | Markers, say: Callable[[str], None], *, reasoning: bool = False
    ) -> Steps[str | None]:
        """The first of the markers, not consumed, or None at the end. The text before it is consumed.

        Args:
            markers: texts, none empty.
            say: is called with each piece of the text before it.
            reasoning: whether that text belongs to the reasoning.
        """
        search = markers if isinstance(markers, Markers) else search_for(frozenset(markers))
        while True:
            end, marker = search.find(self._text, self._at, ended=self.ended)
            if end > self._at:
                say(self.take(end - self._at, reasoning=reasoning))
            if marker is not None or self.ended:
                return marker
            yield

    def _count(self, *, reasoning: bool) -> None:
        """Counts the tokens of the text that was consumed since the last time."""
        tokens = self._tokens
        while tokens and (tokens[0][0] < self._consumed if reasoning else tokens[0][1] <= self._consumed):
            tokens.popleft()
            self.reasoning_tokens += reasoning
