"""Tool calls of Qwen3-Coder: <tool_call><function=NAME><parameter=NAME>value</parameter></function></tool_call>."""

from weightwarden.logger.sidecar.reading.cursor import MalformedCall, Steps
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tagged_arguments import ArgumentsObject, read_value
from weightwarden.logger.sidecar.reading.tools import Tools

_BEGIN, _END = "<tool_call>", "</tool_call>"
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"


def read_qwen3_coder(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls up to the end of the answer.

    The outer tags may be missing, as these models often leave them out. Then the function must be offered.
    """
    while (marker := (yield from reading.content_until((_BEGIN, _FUNCTION)))) is not None:
        yield from reading.calls(_call(reading, tools, bare=marker == _FUNCTION))


def _call(reading: Reading, tools: Tools, *, bare: bool) -> Steps[None]:
    cursor = reading.cursor
    if not bare:
        yield from cursor.space()
        yield from cursor.choose(_FUNCTION)
    name = yield from cursor.name()
    yield from cursor.choose(">")
    if bare and name not in tools.names:
        raise MalformedCall
    reading.begin_call(name)
    yield from reading.tagged_arguments(_arguments(reading, tools, name), (_END,))
    reading.end_call()
    yield from reading.closing(_END)


def _arguments(reading: Reading, tools: Tools, function: str) -> Steps[None]:
    cursor, arguments = reading.cursor, ArgumentsObject(reading, tools, function)
    while True:
        yield from cursor.space()
        if (yield from cursor.choose(_PARAMETER, _FUNCTION_END)) == _FUNCTION_END:
            arguments.end()
            return
        arguments.begin((yield from cursor.line(">")))
        cursor.take(1)
        if (yield from cursor.follows("\n")) is not None and (yield from cursor.follows(f"\n{_PARAMETER_END}")) is None:
            cursor.take(1)
        ends = (f"\n{_PARAMETER_END}", _PARAMETER_END)
        yield from read_value(arguments, cursor, ends, (_PARAMETER, _FUNCTION_END))
        arguments.end_value()
