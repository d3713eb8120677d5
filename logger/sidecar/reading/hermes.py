"""Tool calls of Hermes and Qwen: a JSON object between <tool_call> and </tool_call>."""

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.json_call import read_json_call
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tools import Tools

_BEGIN, _END = "<tool_call>", "</tool_call>"


def read_hermes(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of content and calls up to the end of the answer."""
    while (yield from reading.content_until((_BEGIN,))) is not None:
        yield from reading.calls(_call(reading))


def _call(reading: Reading) -> Steps[None]:
    cursor = reading.cursor
    yield from cursor.space()
    yield from read_json_call(reading, (_END,))
    yield from cursor.space()
    yield from cursor.choose(_END)
    reading.end_call()
