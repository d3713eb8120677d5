"""Tool calls in a section between markers: a name or an id, and the arguments as JSON (DeepSeek V3.1, Kimi K2)."""

import re
from dataclasses import dataclass

from weightwarden.logger.sidecar.reading.cursor import MalformedCall, Steps
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tools import Tools

_KIMI_ID = re.compile(r"(?:functions\.)?(?P<name>[^:]+)(?::[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class _Marks:
    """The markers of a form.

    Attributes:
        section: text before the first call.
        begin: text before a call's name or id.
        middle: text between it and the arguments.
        end: text after the arguments.
        close: text after the last call.
        named_by_id: whether a call has an id that holds the name (`functions.NAME:INDEX`), instead of a name.
    """

    section: str
    begin: str
    middle: str
    end: str
    close: str
    named_by_id: bool = False


_DEEPSEEK = _Marks(
    section="<｜tool▁calls▁begin｜>",
    begin="<｜tool▁call▁begin｜>",
    middle="<｜tool▁sep｜>",
    end="<｜tool▁call▁end｜>",
    close="<｜tool▁calls▁end｜>",
)
_KIMI = _Marks(
    section="<|tool_calls_section_begin|>",
    begin="<|tool_call_begin|>",
    middle="<|tool_call_argument_begin|>",
    end="<|tool_call_end|>",
    close="<|tool_calls_section_end|>",
    named_by_id=True,
)


def read_deepseek_v31(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls of DeepSeek V3.1 up to the end of the answer."""
    yield from _read(reading, _DEEPSEEK)


def read_kimi_k2(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls of Kimi K2 up to the end of the answer."""
    yield from _read(reading, _KIMI)


def _read(reading: Reading, marks: _Marks) -> Steps[None]:
    while (yield from reading.content_until((marks.section,))) is not None:
        yield from reading.calls(_section(reading, marks))


def _section(reading: Reading, marks: _Marks) -> Steps[None]:
    cursor = reading.cursor
    while True:
        yield from cursor.space()
        if (yield from cursor.choose(marks.begin, marks.close)) == marks.close:
            return
        yield from cursor.space()
        name = yield from cursor.name()
        own_id = None
        if marks.named_by_id:
            found = _KIMI_ID.fullmatch(name)
            if found is None:
                raise MalformedCall
            name, own_id = found["name"], name
        yield from cursor.space()
        yield from cursor.choose(marks.middle)
        yield from cursor.space()
        yield from cursor.ahead("{")
        reading.begin_call(name, own_id)
        yield from reading.json_arguments((marks.end,))
        yield from cursor.space()
        yield from cursor.choose(marks.end)
        reading.end_call()
