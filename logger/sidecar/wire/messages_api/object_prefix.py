"""The beginning of a JSON object in a text, piece by piece.

A client of the Messages API parses a tool's input after every piece, and fails on what cannot become an object.
"""

import re

MAX_DEPTH = 64
"""Largest nesting of lists and objects. Clients' parsers have limits of their own."""
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_SPACE, _HEX, _ESCAPES = " \t\n\r", "0123456789abcdefABCDEF", '"\\/bfnrt'
_LITERALS = {"t": "rue", "f": "alse", "n": "ull"}
_NUMBER = {
    "-": {"0": "0", "1": "integer"},
    "0": {".": ".", "e": "e"},
    "integer": {"0": "integer", "1": "integer", ".": ".", "e": "e"},
    ".": {"0": "fraction", "1": "fraction"},
    "fraction": {"0": "fraction", "1": "fraction", "e": "e"},
    "e": {"+": "sign", "0": "exponent", "1": "exponent"},
    "sign": {"0": "exponent", "1": "exponent"},
    "exponent": {"0": "exponent", "1": "exponent"},
}
"""What has been read of a number, and what the next character makes of it, by its kind: 0, 1 (to 9), point, e, sign."""
_WHOLE = ("0", "integer", "fraction", "exponent")


class ObjectPrefix:
    """Reader of a text that should be a JSON object. It ends at the first character that cannot belong to one.

    Attributes:
        fault: True once such a character was read.
    """

    def __init__(self) -> None:
        self.fault = False
        self._text: list[str] = []
        self._length = 0
        self._closable = self._closable_before = 0
        self._open: list[str] = []
        self._state = "start"
        self._is_key = False
        self._left = ""

    @property
    def complete(self) -> bool:
        """True if the text is a whole object, or nothing but white space."""
        return not self.fault and self._state in ("start", "over")

    def add(self, piece: str) -> str:
        """The part of a piece that goes on with the object. White space around the object is left out."""
        at, piece = 0, piece.lstrip(_SPACE) if self._state == "start" else piece
        while at < len(piece) and not self.fault and self._state != "over":
            run = _PLAIN.match(piece, at) if self._state == "string" else None
            read = 1 if run is None else run.end() - at
            self.fault = run is None and not self._step(piece[at])
            if not self.fault:
                at += read
                self._length += read
        if self._state == "over":
            self.fault = self.fault or bool(piece[at:].strip(_SPACE))
        self._text.append(piece[:at])
        return piece[:at]

    def closed(self) -> str:
        """The object with all values that are complete, as JSON. Values and keys that are not are left out."""
        closing = "".join("}" if one == "{" else "]" for one in reversed(self._open))
        return "".join(self._text)[: self._closable] + closing or "{}"

    def _step(self, c: str) -> bool:
        """Read a character. False if it cannot be the next one."""
        match self._state:
            case "string":
                return self._in_string(c)
            case "escape":
                self._left, self._state = "1234", "hexadecimal" if c == "u" else "string"
                return c == "u" or c in _ESCAPES
            case "hexadecimal":
                self._left = self._left[1:]
                self._state = self._state if self._left else "string"
                return c in _HEX
            case "literal":
                return self._in_literal(c)
            case "number":
                return self._in_number(c)
        return (c in _SPACE and self._state != "start") or self._between(c)

    def _in_string(self, c: str) -> bool:
        if c == '"' and self._is_key:
            self._state = "colon"
        elif c == '"':
            self._end_value()
        elif c == "\\":
            self._state = "escape"
        return c >= " "

    def _in_literal(self, c: str) -> bool:
        if c != self._left[0]:
            return False
        self._left = self._left[1:]
        if not self._left:
            self._end_value()
        return True

    def _in_number(self, c: str) -> bool:
        kind = "1" if c in "123456789" else "e" if c in "eE" else "+" if c in "+-" else c
        following = _NUMBER[self._left].get(kind)
        if following is None:
            if self._left not in _WHOLE:
                return False
            self._state = "after"
            return c in _SPACE or self._between(c)
        self._left = following
        self._closable = self._length + 1 if following in _WHOLE else self._closable_before
        return True

    def _between(self, c: str) -> bool:
        """Read a character that begins or ends a value, or parts values."""
        state, inside = self._state, self._open[-1] if self._open else ""
        if state == "colon":
            self._state = "value"
            return c == ":"
        if state == "after" and c == ",":
            self._state = "key" if inside == "{" else "value"
            return True
        if c == ("}" if inside == "{" else "]") and state in ("after", "first key", "first value"):
            self._open.pop()
            self._end_value()
            return True
        if state in ("key", "first key"):
            self._is_key, self._state = True, "string"
            return c == '"'
        return state in ("start", "value", "first value") and self._begin_value(c)

    def _begin_value(self, c: str) -> bool:
        if self._state == "start" and c != "{":
            return False
        if c in "{[":
            if len(self._open) == MAX_DEPTH:
                return False
            self._open.append(c)
            self._state = "first key" if c == "{" else "first value"
            self._closable = self._length + 1
            return True
        if c == '"':
            self._is_key, self._state = False, "string"
        elif c in _LITERALS:
            self._left, self._state = _LITERALS[c], "literal"
        elif c in "-0123456789":
            self._closable_before = self._closable
            self._left, self._state = "integer" if c in "123456789" else c, "number"
            if c != "-":
                self._closable = self._length + 1
        else:
            return False
        return True

    def _end_value(self) -> None:
        self._closable = self._length + 1
        self._state = "after" if self._open else "over"
