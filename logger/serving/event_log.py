"""A daemon's log of its own events: one JSON object a line, with predefined fields.

Values are numbers, fixed words, names that the operator gave, request ids of checked characters, and messages of the
system and the database. No text of a prompt or an answer, and no key can be in it. Of an inference server's text it can
hold the names of a few models, once in a run.
"""

import json
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

Value = str | int | float | bool | list[int] | None


class Events:
    """Writer of events to a stream, one line each. It may be used from any thread."""

    def __init__(
        self, stream: TextIO = sys.stderr, clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC)
    ) -> None:
        self._stream, self._clock = stream, clock
        self._line = threading.Lock()
        self._fields: dict[str, Value] = {}

    def of(self, **fields: Value) -> "Events":
        """A writer to the same stream, with these fields in each of its events."""
        other = Events(self._stream, self._clock)
        other._line, other._fields = self._line, self._fields | fields
        return other

    def say(self, event: str, **fields: Value) -> None:
        """Write an event. A failing stream is ignored."""
        line = json.dumps(
            {"time": self._clock().isoformat(timespec="milliseconds"), "event": event, **self._fields, **fields}
        )
        with self._line:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass

    def defect(self, error: BaseException) -> None:
        """Write the place of an unexpected exception, without its message, which may hold a client's text."""
        frames = traceback.extract_tb(error.__traceback__)[-5:]
        where = " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames))
        self.say("defect", kind=type(error).__name__, where=where)
