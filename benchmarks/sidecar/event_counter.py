"""Counter of the events of a streamed answer, whatever pieces its bytes come in."""

import re

_FRAMES = re.compile(rb"\r\n(?:[0-9a-f]+\r\n)?")
_TAIL_BYTES = 96


class EventCounter:
    """Counter of the events of one HTTP response, chunked or not.

    The head of a chunk may stand anywhere within an event, so no text of an event is looked for. An event ends with two
    line feeds. A line feed of HTTP follows a carriage return, and the events of a JSON API contain none.

    Attributes:
        events: number of complete events so far.
    """

    def __init__(self) -> None:
        self.events = 0
        self._line_feeds = 0
        self._tail = b""

    def add(self, block: bytes) -> int:
        """The number of events that the next bytes complete."""
        self._line_feeds += block.count(b"\n") - block.count(b"\r")
        came = max(self._line_feeds // 2 - self.events, 0)
        self.events += came
        self._tail = (self._tail + block)[-_TAIL_BYTES:] if len(block) < _TAIL_BYTES else block[-_TAIL_BYTES:]
        return came

    @property
    def done(self) -> bool:
        """True if the last event was `[DONE]`."""
        return b"data: [DONE]" in _FRAMES.sub(b"", self._tail)
