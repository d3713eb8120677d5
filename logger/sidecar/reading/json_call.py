"""Tool calls as JSON objects that hold the function's name and its arguments."""

import json
import re
from collections.abc import Collection

from weightwarden.logger.sidecar.reading.cursor import MAX_NAME_CHARACTERS, Cursor, MalformedCall, Steps
from weightwarden.logger.sidecar.reading.reading import Reading

_NAME = re.compile(r"[\w.:/-]+")
_ARGUMENTS = ("arguments", "parameters")
_OTHERS = ("type", "id")


def read_json_call(reading: Reading, ends: Collection[str], offered: Collection[str] | None = None) -> Steps[bool]:
    """True if a JSON object that is a call follows, False if its arguments are faulty: then its end marker follows.

    The keys are `name`, `arguments` or `parameters` (an object), and perhaps `type` and `id`, in any order.

    Args:
        reading: the answer.
        ends: markers of which the first ends faulty arguments.
        offered: names of which one must be the function's, or None for any name.

    Raises:
        MalformedCall: the text is no such object.
    """
    cursor = reading.cursor
    name: str | None = None
    early: list[str] | None = None  # arguments before the name
    keys: set[str] = set()
    yield from cursor.choose("{")
    while True:
        yield from cursor.space()
        key = yield from _string(cursor)
        kind = "arguments" if key in _ARGUMENTS else key
        if kind in keys or kind not in ("arguments", "name", *_OTHERS):
            raise MalformedCall
        keys.add(kind)
        yield from cursor.space()
        yield from cursor.choose(":")
        yield from cursor.space()
        if kind == "name":
            name = yield from _string(cursor)
            if not callable_name(name) or (offered is not None and name not in offered):
                raise MalformedCall
            if early is not None:
                reading.begin_call(name)
                reading.arguments("".join(early))
        elif kind == "arguments":
            yield from cursor.ahead("{")
            if name is not None:
                reading.begin_call(name)
                if not (yield from reading.json_arguments(ends)):
                    return False
                reading.settle()
            else:
                early = []
                if not (yield from cursor.json(early.append)):
                    raise cursor.fault()
        elif not (yield from cursor.json(_ignore)):
            raise cursor.fault()
        yield from cursor.space()
        if (yield from cursor.choose(",", "}")) == "}":
            if not {"name", "arguments"} <= keys:
                raise MalformedCall
            return True


def callable_name(name: str) -> bool:
    """True if a function can have this name."""
    return len(name) <= MAX_NAME_CHARACTERS and _NAME.fullmatch(name) is not None


def _string(cursor: Cursor) -> Steps[str]:
    """The JSON string that follows, consumed."""
    pieces: list[str] = []
    yield from cursor.ahead('"')
    if not (yield from cursor.json(pieces.append)):
        raise cursor.fault()
    text: str = json.loads("".join(pieces))
    return text


def _ignore(text: str) -> None:
    """Leaves out the text of a value that is no part of the call."""
