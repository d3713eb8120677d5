"""A transport that joins small writes: writes of one round of the event loop leave together."""

import asyncio
from typing import Any


class CoalescingTransport:
    """A transport whose writes leave in one piece at the end of the round of the event loop.

    Every event of a stream is an HTTP chunk. Without this transport each chunk would be a system call and a packet. All
    other attributes are those of the wrapped transport.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Queue bytes for the end of the round."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def write_eof(self) -> None:
        """Write the queued bytes, and end the sending side."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Write the queued bytes, and close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Drop the queued bytes, and close."""
        self._parts.clear()
        self._transport.abort()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
