"""Limits of the connections of an HTTP daemon."""

from dataclasses import dataclass

BODY_BYTES = 65_536
"""Bytes of a request's body, where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits of what the connections of an HTTP daemon may cost.

    Attributes:
        connections: connections that are open at once, idle ones included.
        waiting: connections of one client address that wait for their client: silent, sending, or idle.
        body: bytes of a request's body; None for `BODY_BYTES`.
        headers: seconds within which a request's headers must be complete.
        header_bytes: bytes of a request's headers.
        receive: seconds within which a request's body must be complete.
        idle: seconds between two requests of one connection.
        send: seconds that a client may leave unread what it is sent.
    """

    connections: int = 1024
    waiting: int = 256
    body: int | None = None
    headers: float = 10.0
    header_bytes: int = 32_768
    receive: float = 60.0
    idle: float = 30.0
    send: float = 60.0

    @property
    def body_bytes(self) -> int:
        """Most bytes of a request's body."""
        return BODY_BYTES if self.body is None else self.body
