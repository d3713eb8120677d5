"""Tool calls of DeepSeek V3.2 and V4: invocations with parameters, in tags that a special token marks (DSML)."""

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tagged_arguments import ArgumentsObject, read_value
from weightwarden.logger.sidecar.reading.tools import Tools

_SECTIONS = {"<｜DSML｜function_calls>": "</｜DSML｜function_calls>", "<｜DSML｜tool_calls>": "</｜DSML｜tool_calls>"}
_INVOKE, _INVOKE_END = '<｜DSML｜invoke name="', "</｜DSML｜invoke>"
_PARAMETER, _PARAMETER_END = '<｜DSML｜parameter name="', "</｜DSML｜parameter>"
_STRING, _JSON = '" string="true">', '" string="false">'


def read_deepseek_v32(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls up to the end of the answer."""
    while (marker := (yield from reading.content_until(_SECTIONS))) is not None:
        yield from reading.calls(_section(reading, tools, _SECTIONS[marker]))


def _section(reading: Reading, tools: Tools, close: str) -> Steps[None]:
    cursor = reading.cursor
    while True:
        yield from cursor.space()
        if (yield from cursor.choose(_INVOKE, close)) == close:
            return
        name = yield from cursor.name()
        empty = (yield from cursor.choose('">', '"/>')) == '"/>'
        reading.begin_call(name)
        if empty:
            reading.arguments("{}")
        else:
            yield from reading.tagged_arguments(_arguments(reading, tools, name), (_INVOKE_END,))
            yield from cursor.choose(_INVOKE_END)
        reading.end_call()


def _arguments(reading: Reading, tools: Tools, function: str) -> Steps[None]:
    cursor, arguments = reading.cursor, ArgumentsObject(reading, tools, function)
    while True:
        yield from cursor.space()
        if (yield from cursor.ahead(_PARAMETER, _INVOKE_END)) == _INVOKE_END:
            arguments.end()
            return
        cursor.take(len(_PARAMETER))
        key = yield from cursor.line('"')
        string = (yield from cursor.choose(_STRING, _JSON)) == _STRING
        arguments.begin(key, string=string)
        yield from read_value(arguments, cursor, (_PARAMETER_END,), (_PARAMETER, _INVOKE_END))
        arguments.end_value(typed=False)
