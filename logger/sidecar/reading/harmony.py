"""Messages of gpt-oss on channels (harmony): reasoning, content and tool calls."""

from weightwarden.logger.sidecar.reading.cursor import Steps
from weightwarden.logger.sidecar.reading.reading import Reading
from weightwarden.logger.sidecar.reading.tools import Tools

_START, _CHANNEL, _CONSTRAIN, _MESSAGE = "<|start|>assistant", "<|channel|>", "<|constrain|>", "<|message|>"
_RECIPIENT, _FUNCTION = "to=", "functions."
_END = "<|end|>"
_ENDS = (_END, "<|call|>", "<|return|>")
_MAX_WORDS = 2
"""Words of a header that say the type of the message's content."""


def read_harmony(reading: Reading, tools: Tools) -> Steps[None]:
    """Reading of reasoning, content and calls up to the end of the answer, which may begin within a header."""
    yield from _read(reading, calls=True)


def read_channels(reading: Reading) -> Steps[None]:
    """Reading of reasoning and content up to the end of the answer; calls are content."""
    yield from _read(reading, calls=False)


def read_analysis(reading: Reading) -> Steps[None]:
    """Reading of the text of a message on the channel of the reasoning."""
    reading.reasoning_begins()
    end = yield from reading.reasoning_before((_END, _START))
    reading.cursor.take(len(_END) if end == _END else 0, reasoning=True)
    reading.reasoning_ends()


def _read(reading: Reading, *, calls: bool) -> Steps[None]:
    cursor = reading.cursor
    cursor.hold()
    yield from cursor.space()
    if (yield from cursor.follows(_RECIPIENT, _CHANNEL)) is None:
        reading.content(cursor.release())
    else:
        yield from reading.calls(_message(reading, calls=calls), cut_is_text=False)
    while (marker := (yield from reading.content_until((_START, _CHANNEL)))) is not None:
        yield from reading.calls(_message(reading, calls=calls, on_channel=marker == _CHANNEL), cut_is_text=False)


def _message(reading: Reading, *, calls: bool, on_channel: bool = False) -> Steps[None]:
    """Reading of a message from its header on, which is held."""
    cursor = reading.cursor
    channel, recipient = yield from _header(reading, on_channel=on_channel)
    name = recipient.removeprefix(_FUNCTION) if recipient.startswith(_FUNCTION) else ""
    if calls and name and (yield from cursor.follows("{")) is not None:
        reading.begin_call(name)
        yield from reading.json_arguments((*_ENDS, _START))
        reading.end_call()
    elif recipient and not recipient.startswith(_FUNCTION):
        cursor.release()
        yield from cursor.until((*_ENDS, _START), _leave_out)  # for a tool of the server's, not for the client
    elif channel == "analysis" and not recipient:
        cursor.release(reasoning=True)
        yield from read_analysis(reading)
        return
    else:
        cursor.release()
        yield from reading.content_before((*_ENDS, _START))
    cursor.hold()
    yield from reading.closing(*_ENDS)


def _header(reading: Reading, *, on_channel: bool) -> Steps[tuple[str, str]]:
    """The channel and the recipient of a message, of which the last ones count; the recipient is empty for the user.

    Raises:
        MalformedCall: the text is no header.
    """
    cursor = reading.cursor
    channel = (yield from cursor.name()) if on_channel else ""
    recipient, words = "", 0
    while True:
        yield from cursor.space()
        following = yield from cursor.follows(_RECIPIENT, _CHANNEL, _CONSTRAIN, _MESSAGE)
        if following is None:
            words += 1
            if not channel or words > _MAX_WORDS:
                raise cursor.fault()
            yield from cursor.name()
            continue
        cursor.take(len(following))
        if following == _MESSAGE:
            return channel, recipient
        if following == _RECIPIENT:
            recipient = yield from cursor.name()
        elif following == _CHANNEL:
            channel, words = (yield from cursor.name()), 0


def _leave_out(text: str) -> None:
    """Leaves out text that is not for the client."""
