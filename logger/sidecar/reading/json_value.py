"""Progress through one JSON value (RFC 8259) in growing text."""

import re

_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_SPACE = re.compile(r"[ \t\n\r]*")
_DIGITS = re.compile(r"[0-9]*")
_HEX = frozenset("0123456789abcdefABCDEF")
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_NUMBER = {
    "sign": {"0": "zero", "1-9": "whole"},
    "zero": {".": "point", "e": "exponent"},
    "whole": {"0": "whole", "1-9": "whole", ".": "point", "e": "exponent"},
    "point": {"0": "fraction", "1-9": "fraction"},
    "fraction": {"0": "fraction", "1-9": "fraction", "e": "exponent"},
    "exponent": {"+": "exponent sign", "0": "power", "1-9": "power"},
    "exponent sign": {"0": "power", "1-9": "power"},
    "power": {"0": "power", "1-9": "power"},
}
"""States of a number: the next state for each class of the next character."""
_COMPLETE_NUMBERS = frozenset({"zero", "whole", "fraction", "power"})
_LOOPS = frozenset({"whole", "fraction", "power"})
_CLASSES = {**dict.fromkeys("123456789", "1-9"), "E": "e", "-": "+"}


class JsonValue:
    """Progress through one JSON value. Each character is looked at once, however the text is split.

    A number at the root ends with the character after it, or with `end`.

    Attributes:
        done: whether the value is complete.
        broken: whether the text is no beginning of a JSON value.
    """

    def __init__(self) -> None:
        self.done = self.broken = False
        self._open: list[str] = []  # the closing brackets of the open containers, from the outermost on
        self._state = "value"
        self._key = False  # whether the string is a key
        self._left = ""  # of a literal
        self._digits = 0  # missing from a \u escape

    def feed(self, text: str, at: int = 0) -> int:
        """The place after the characters of the text, from place `at` on, that belong to the value."""
        while at < len(text) and not self.done and not self.broken:
            at = self._string(text, at) if self._state in _STRINGS else self._step(text, at)
        return at

    def end(self) -> None:
        """The end of the text, which completes a number at the root."""
        if self._state in _COMPLETE_NUMBERS and not self._open:
            self.done = True

    def _string(self, text: str, at: int) -> int:
        """One run of plain characters of a string, or one character of an escape."""
        char = text[at]
        if self._state == "string":
            at = _PLAIN.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text
            if at < len(text):
                if text[at] == '"':
                    if self._key:
                        self._state = "colon"
                    else:
                        self._value_ends()
                elif text[at] == "\\":
                    self._state = "escape"
                else:
                    return self._break(at)
                at += 1
            return at
        if self._state == "escape" and char in '"\\/bfnrt':
            self._state = "string"
        elif self._state == "escape" and char == "u":
            self._state, self._digits = "hexadecimal", 4
        elif self._state == "hexadecimal" and char in _HEX:
            self._digits -= 1
            self._state = "hexadecimal" if self._digits else "string"
        else:
            return self._break(at)
        return at + 1

    def _step(self, text: str, at: int) -> int:
        """One token outside strings, or white space."""
        char, state = text[at], self._state
        if state in _NUMBER:
            return self._number(text, at)
        if state == "literal":
            if char != self._left[0]:
                return self._break(at)
            self._left = self._left[1:]
            if not self._left:
                self._value_ends()
            return at + 1
        space = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text
        if space > at:
            return space
        if state in ("value", "first value") and not (char == "]" and state == "first value"):
            return self._begin(char, at)
        if state in ("first key", "key") and char == '"':
            self._state, self._key = "string", True
        elif state == "colon" and char == ":":
            self._state = "value"
        elif state == "comma" and char == ",":
            self._state = "key" if self._open[-1] == "}" else "value"
        elif state in ("first key", "first value", "comma") and char == self._open[-1]:
            self._open.pop()
            self._value_ends()
        else:
            return self._break(at)
        return at + 1

    def _begin(self, char: str, at: int) -> int:
        if char == "{":
            self._open.append("}")
            self._state = "first key"
        elif char == "[":
            self._open.append("]")
            self._state = "first value"
        elif char == '"':
            self._state, self._key = "string", False
        elif char in _LITERALS:
            self._state, self._left = "literal", _LITERALS[char][1:]
        elif char == "-":
            self._state = "sign"
        elif char.isascii() and char.isdigit():
            self._state = "zero" if char == "0" else "whole"
        else:
            return self._break(at)
        return at + 1

    def _number(self, text: str, at: int) -> int:
        if self._state in _LOOPS:
            after = _DIGITS.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text
            if after > at:
                return after
        char = text[at]
        kind = _CLASSES.get(char, char)
        following = _NUMBER[self._state].get(kind)
        if following is not None:
            self._state = following
            return at + 1
        if self._state not in _COMPLETE_NUMBERS:
            return self._break(at)
        self._value_ends()
        return at

    def _value_ends(self) -> None:
        self._state = "comma"
        self.done = not self._open

    def _break(self, at: int) -> int:
        self.broken = True
        return at


_STRINGS = frozenset({"string", "escape", "hexadecimal"})
