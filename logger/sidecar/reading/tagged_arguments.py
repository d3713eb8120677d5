"""Arguments as tagged text: names and bare values, from which the JSON object of the arguments is made."""

import json
from collections.abc import Collection, Sequence

from weightwarden.logger.sidecar.reading.cursor import Cursor, CutCall, MalformedCall, Steps
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tools import Tools, json_or_string


class ArgumentsObject:
    """The JSON object of a call's arguments, written while its text comes in. A string comes piece by piece."""

    def __init__(self, reading: Reading, tools: Tools, function: str) -> None:
        self._reading, self._tools, self._function = reading, tools, function
        self._key, self._before = "", "{"
        self._value: list[str] | None = None  # of an argument that may be no string

    def begin(self, key: str, *, string: bool | None = None) -> None:
        """The beginning of an argument.

        Args:
            key: its name.
            string: whether its value is a string; None where only the tool's schema can say it.
        """
        if string is None:
            string = not self._tools.types(self._function, key)
        self._key, self._value = key, None if string else []
        self._write(f"{self._before}{json.dumps(key, ensure_ascii=False)}: ")
        self._before = ", "
        if string:
            self._write('"')

    def say(self, text: str) -> None:
        """A piece of the value's text."""
        if self._value is None:
            self._write(json.dumps(text, ensure_ascii=False)[1:-1])
        else:
            self._value.append(text)

    def end_value(self, *, typed: bool = True) -> None:
        """The end of the argument.

        Args:
            typed: whether the tool's schema says which types its value can have; otherwise any JSON is one.
        """
        if self._value is None:
            self._write('"')
        else:
            text = "".join(self._value)
            self._write(self._tools.value(self._function, self._key, text) if typed else json_or_string(text))
        self._reading.settle()

    def cut(self) -> None:
        """The end of the answer within the value, of which the text so far is written as it is."""
        if self._value is not None:
            self._write("".join(self._value))

    def end(self) -> None:
        """The end of the object."""
        self._write("{}" if self._before == "{" else "}")
        self._reading.settle()

    def _write(self, text: str) -> None:
        self._reading.arguments(text)


def read_value(
    arguments: ArgumentsObject, cursor: Cursor, ends: Collection[str], following: Sequence[str]
) -> Steps[None]:
    """The text of the value that has begun, up to an end marker that markup follows. The marker is consumed.

    The same marker elsewhere belongs to the value.

    Args:
        arguments: the object with the value.
        cursor: the answer's text.
        ends: end markers.
        following: markup of which one follows, perhaps after white space.

    Raises:
        MalformedCall: the answer ends within the value.
    """
    while True:
        marker = yield from cursor.until(ends, arguments.say)
        if marker is None:
            arguments.cut()
            raise cursor.fault()
        cursor.take(len(marker))
        space = yield from cursor.space()
        try:
            yield from cursor.ahead(*following)
        except CutCall:
            arguments.cut()
            raise
        except MalformedCall:
            arguments.say(marker + space)
        else:
            return
