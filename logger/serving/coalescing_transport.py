"""Many small writes as one: what is written within one round of the event loop leaves together."""

import asyncio
from typing import Any


class CoalescingTransport:
    """A transport whose writes leave at the end of the round of the event loop, in one piece.

    Every event of a stream is an HTTP chunk of its own; without this each would be a system call and a packet of its
    own, too. Everything else is the transport's own affair.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write, soon."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close, and drop what waits."""
        self._parts.clear()
        self._transport.abort()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
