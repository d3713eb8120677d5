"""The growing text of an answer, as a reader consumes it."""

import re
from collections import deque
from collections.abc import Callable, Collection, Generator
from functools import lru_cache
from typing import TypeVar

from weightwarden.logger.sidecar.reading.json_value import JsonValue

_T = TypeVar("_T")
Steps = Generator[None, None, _T]
"""Reading in steps: a generator that pauses where it needs more text, and returns what it has read."""

_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"[\w.:/-]+")
MAX_NAME_CHARACTERS = 256


class MalformedCall(Exception):
    """Text that began like a tool call and is none."""


class Markers:
    """Search for the first of several markers, in text that grows."""

    def __init__(self, markers: Collection[str]) -> None:
        """A search. Of two markers at one place the longer one is found.

        Args:
            markers: texts, none empty.
        """
        ordered = sorted(set(markers), key=lambda marker: (-len(marker), marker))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._beginnings = {marker[:length] for marker in ordered for length in range(1, len(marker))}
        self._longest = max(map(len, ordered), default=0)

    def find(self, text: str, at: int, *, ended: bool) -> tuple[int, str | None]:
        """The end of the text, from place `at` on, before any marker, and the marker that is complete there, or None.

        Args:
            text: the text.
            at: place in the text from which on it is searched.
            ended: whether no text follows; otherwise text that may begin a marker counts as one.
        """
        found = self._pattern.search(text, at) if self._pattern is not None else None
        stop = len(text) if found is None else found.start()
        if not ended:
            for start in range(max(at, len(text) - self._longest + 1), min(stop + 1, len(text))):
                if text[start:] in self._beginnings:
                    return start, None
        return stop, None if found is None else found[0]


@lru_cache(maxsize=256)
def _search(markers: frozenset[str]) -> Markers:
    """The search for a family's markers, made once."""
    return Markers(markers)


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
            reasoning: whether they belong to the reasoning.
        """
        text = self._text[self._at : self._at + count]
        self._at += count
        self._consumed += count
        if self._held is not None:
            self._held.append(text)
        tokens = self._tokens
        if reasoning:
            while tokens and tokens[0][0] < self._consumed:
                tokens.popleft()
                self.reasoning_tokens += 1
        else:
            while tokens and tokens[0][1] <= self._consumed:
                tokens.popleft()
        return text

    def hold(self) -> None:
        """From here on, consumed text is held until it is released or forgotten."""
        self._held = []

    def release(self) -> str:
        """The text that was consumed while held; nothing is held after it."""
        held, self._held = self._held or [], None
        return "".join(held)

    def peek(self) -> Steps[str]:
        """The next character, not consumed; empty at the end."""
        while self._at == len(self._text):
            if self.ended:
                return ""
            yield
        return self._text[self._at]

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
        literal = yield from self.follows(*literals)
        if literal is None:
            raise MalformedCall
        return self.take(len(literal))

    def name(self) -> Steps[str]:
        """The name that follows, consumed: letters, digits and _ . : / -.

        Raises:
            MalformedCall: there is none, or it is too long, or nothing follows it.
        """
        pieces: list[str] = []
        length = 0
        while True:
            found = _NAME.match(self._text, self._at)
            if found is not None:
                length += found.end() - found.start()
                pieces.append(self.take(found.end() - found.start()))
            if length > MAX_NAME_CHARACTERS or self.ended:
                raise MalformedCall
            if self._at < len(self._text):
                if not length:
                    raise MalformedCall
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
        self, markers: Collection[str], say: Callable[[str], None], *, reasoning: bool = False
    ) -> Steps[str | None]:
        """The first of the markers, not consumed, or None at the end. The text before it is consumed.

        Args:
            markers: texts, none empty.
            say: is called with each piece of the text before it.
            reasoning: whether that text belongs to the reasoning.
        """
        search = _search(frozenset(markers))
        while True:
            end, marker = search.find(self._text, self._at, ended=self.ended)
            if end > self._at:
                say(self.take(end - self._at, reasoning=reasoning))
            if marker is not None or self.ended:
                return marker
            yield
