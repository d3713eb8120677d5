"""Tool calls of Mistral: after [TOOL_CALLS] a name, [ARGS] and JSON, or a JSON list of calls."""

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.json_call import read_json_call
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tools import Tools

_CALLS, _ID, _ARGUMENTS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"


def read_mistral(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls up to the end of the answer."""
    while (yield from reading.content_until((_CALLS,))) is not None:
        yield from reading.calls(_calls(reading))


def _calls(reading: Reading) -> Steps[None]:
    cursor = reading.cursor
    yield from cursor.space()
    if (yield from cursor.follows("[")) is not None:
        yield from _list(reading)
        return
    name, own_id = (yield from cursor.name()), None
    if (yield from cursor.follows(_ID)) is not None:
        cursor.take(len(_ID))
        own_id = yield from cursor.name()
    if (yield from cursor.follows(_ARGUMENTS)) is not None:
        cursor.take(len(_ARGUMENTS))
        yield from cursor.space()
    yield from cursor.ahead("{")
    reading.begin_call(name, own_id)
    if (yield from reading.json_arguments((_CALLS,))):
        reading.end_call()


def _list(reading: Reading) -> Steps[None]:
    cursor = reading.cursor
    yield from cursor.choose("[")
    while True:
        yield from cursor.space()
        if not (yield from read_json_call(reading, (_CALLS,))):
            return
        reading.end_call()
        yield from cursor.space()
        if (yield from cursor.choose(",", "]")) == "]":
            return
