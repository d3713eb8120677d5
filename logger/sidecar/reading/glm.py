"""Tool calls of GLM: <tool_call>NAME<arg_key>name</arg_key><arg_value>value</arg_value></tool_call>."""

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tagged_arguments import ArgumentsObject, read_value
from weightwarden.logger.sidecar.reading.tools import Tools

_BEGIN, _END = "<tool_call>", "</tool_call>"
_KEY, _KEY_END = "<arg_key>", "</arg_key>"
_VALUE, _VALUE_END = "<arg_value>", "</arg_value>"


def read_glm(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls up to the end of the answer."""
    while (yield from reading.content_until((_BEGIN,))) is not None:
        yield from reading.calls(_call(reading, tools))


def _call(reading: Reading, tools: Tools) -> Steps[None]:
    cursor = reading.cursor
    name = yield from cursor.name()
    yield from cursor.space()
    yield from cursor.ahead(_KEY, _END)
    reading.begin_call(name)
    yield from reading.tagged_arguments(_arguments(reading, tools, name), (_END,))
    yield from cursor.choose(_END)
    reading.end_call()


def _arguments(reading: Reading, tools: Tools, function: str) -> Steps[None]:
    cursor, arguments = reading.cursor, ArgumentsObject(reading, tools, function)
    while True:
        yield from cursor.space()
        if (yield from cursor.ahead(_KEY, _END)) == _END:
            arguments.end()
            return
        cursor.take(len(_KEY))
        key = yield from cursor.line("<")
        yield from cursor.choose(_KEY_END)
        yield from cursor.space()
        yield from cursor.choose(_VALUE)
        arguments.begin(key)
        yield from read_value(arguments, cursor, (_VALUE_END,), (_KEY, _END))
        arguments.end_value()
