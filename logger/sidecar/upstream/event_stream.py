"""Server-sent events of an untrusted server. Only `data` lines are read, and all buffers are bounded."""

from weightwarden.logger.sidecar.errors import UpstreamError

_DATA = b"data:"


class EventStream:
    """Parser that splits a stream of bytes into the data of its events.

    Attributes:
        broken: the reason why the stream yields no further events after those returned, or None.
    """

    def __init__(self, longest: int, idle: int) -> None:
        """A parser at the beginning of a stream.

        Args:
            longest: largest number of bytes of a line.
            idle: largest number of bytes without progress.
        """
        self._longest, self._idle_limit = longest, idle
        self._rest = b""
        self._idle = 0
        self.broken: UpstreamError | None = None

    def add(self, block: bytes) -> list[bytes]:
        """The data of all events that these bytes complete, up to an event that breaks the stream."""
        text = self._rest + block
        lines = text.split(b"\n")
        self._rest = lines.pop()
        too_long = None
        if len(text) > self._longest:
            too_long = next((at for at, line in enumerate(lines) if len(line) > self._longest), None)
        found = [line[len(_DATA) :].strip() for line in lines[:too_long] if line.startswith(_DATA)]
        if too_long is not None:
            self.broken = UpstreamError("line too long")
            return found
        self._idle += len(block)
        if len(self._rest) > self._longest:
            self.broken = UpstreamError("line too long")
        elif self._idle > self._idle_limit + self._longest:
            self.broken = UpstreamError("no tokens")
        return found

    def progressed(self) -> None:
        """Reset the count of bytes without progress."""
        self._idle = 0
