"""Tool calls of Llama 3: an answer that is a JSON object, or one after <|python_tag|>; further calls after `;`."""

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.json_call import read_json_call
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tools import Tools

_TAG = "<|python_tag|>"


def read_llama3_json(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls up to the end of the answer.

    JSON at the beginning of the answer is a call only if a tool of its name is offered: it may be the answer itself.
    """
    reading.cursor.hold()
    yield from reading.cursor.space()
    if (yield from reading.cursor.follows("{")) is None:
        reading.content(reading.cursor.release())
    else:
        yield from reading.calls(_calls(reading, tools.names))
    while (yield from reading.content_until((_TAG,))) is not None:
        yield from reading.calls(_calls(reading, None))


def _calls(reading: Reading, offered: frozenset[str] | None) -> Steps[None]:
    cursor = reading.cursor
    while True:
        yield from cursor.space()
        if not (yield from read_json_call(reading, (), offered)):
            return
        reading.end_call()
        yield from cursor.space()
        if (yield from cursor.follows(";")) is None:
            reading.content(cursor.release())
            return
        cursor.take(1)
