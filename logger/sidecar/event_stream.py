"""Server-sent events of an untrusted server: only `data` lines matter, and nothing grows without bound."""

from logger.sidecar.errors import UpstreamError

_DATA = b"data:"


class EventStream:
    """Cuts the bytes of a stream into the data of its events, as they come."""

    def __init__(self, longest: int, idle: int) -> None:
        """Args: longest: bytes of a line. idle: bytes that may come without any data."""
        self._longest, self._idle_limit = longest, idle
        self._rest = b""
        self._idle = 0

    def add(self, block: bytes) -> list[bytes]:
        """The data of all events that are complete with these bytes.

        Raises:
            UpstreamError: a line is too long, or nothing but comments and the like comes.
        """
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._longest or max(map(len, lines), default=0) > self._longest:
            raise UpstreamError("line too long")
        found = [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]
        self._idle = 0 if found else self._idle + len(block)
        if self._idle > self._idle_limit + self._longest:
            raise UpstreamError("no data")
        return found
