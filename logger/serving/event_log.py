"""A daemon's own log of what it does: one JSON object a line, with fields that are known beforehand.

No text of a prompt or an answer, no key, and nothing that an inference server chose can be in it: values are numbers,
fixed words, and names that the operator gave.
"""

import json
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

Value = str | int | float | bool | None


class Events:
    """Writes events to a stream, one line each; may be used from any thread."""

    def __init__(
        self, stream: TextIO = sys.stderr, clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC)
    ) -> None:
        self._stream, self._clock = stream, clock
        self._line = threading.Lock()

    def say(self, event: str, **fields: Value) -> None:
        """Write an event; a stream that cannot be written to stops nothing."""
        line = json.dumps({"time": self._clock().isoformat(timespec="milliseconds"), "event": event, **fields})
        with self._line:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass

    def defect(self, error: BaseException) -> None:
        """Write where an unexpected exception came from, but not what it says: that may hold text of a client."""
        frames = traceback.extract_tb(error.__traceback__)[-5:]
        where = " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames))
        self.say("defect", kind=type(error).__name__, where=where)
