"""Server-sent events of an untrusted server: only `data` lines matter, and nothing grows without bound."""

from weightwarden.logger.sidecar.errors import UpstreamError

_DATA = b"data:"


class EventStream:
    """Cuts the bytes of a stream into the data of its events, as they come, however they come.

    Attributes:
        broken: why nothing more can come of it, once what came before was taken.
    """

    def __init__(self, longest: int, idle: int) -> None:
        """Args: longest: bytes of a line. idle: bytes that may come without any progress."""
        self._longest, self._idle_limit = longest, idle
        self._rest = b""
        self._idle = 0
        self.broken: UpstreamError | None = None

    def add(self, block: bytes) -> list[bytes]:
        """The data of all events that are complete with these bytes, up to the one that breaks the stream."""
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        found: list[bytes] = []
        for line in lines:
            if len(line) > self._longest:
                self.broken = UpstreamError("line too long")
                return found
            if line.startswith(_DATA):
                found.append(line[len(_DATA) :].strip())
        self._idle += len(block)
        if len(self._rest) > self._longest:
            self.broken = UpstreamError("line too long")
        elif self._idle > self._idle_limit + self._longest:
            self.broken = UpstreamError("no tokens")
        return found

    def progressed(self) -> None:
        """What came was good for something."""
        self._idle = 0
