"""Limits for one client, and for all clients together."""

from dataclasses import dataclass, replace

BODY_BYTES, BODY_BYTES_A_TOKEN = 65_536, 32
"""Default limit of a request's body: a fixed number of bytes, plus bytes for each token of the context.

A token of text takes 3 to 12 bytes of JSON, a token id up to 8.
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the sidecar. Sizes are in bytes or tokens, times in seconds.

    Attributes:
        concurrent: choices under way at once.
        connections: open connections, idle ones included.
        waiting: connections of one client address that wait for their client (silent, sending, or idle).
        choices: choices of one request, over all its prompts.
        body: bytes of a request's body; None: derived from the context length (`for_context`).
        prompt: tokens of a prompt; None: bounded by the context length alone.
        headers: seconds within which a request's headers must be complete.
        header_bytes: bytes of a request's headers.
        receive: seconds within which a request's body must be complete.
        idle: seconds between two requests of one connection.
        send: seconds that a client may stop reading before it is disconnected.
        first_token: seconds that the upstream server may take for its first token.
        stall: seconds that the upstream server may take between two tokens.
        drain_timeout: seconds that answers may continue after SIGTERM.
        ready: seconds between two checks of the upstream server's readiness.
    """

    concurrent: int = 256
    connections: int = 1024
    waiting: int = 256
    choices: int = 16
    body: int | None = None
    prompt: int | None = None
    headers: float = 10.0
    header_bytes: int = 32_768
    receive: float = 60.0
    idle: float = 30.0
    send: float = 60.0
    first_token: float = 600.0
    stall: float = 120.0
    drain_timeout: float = 30.0
    ready: float = 10.0

    def for_context(self, tokens: int) -> "Limits":
        """These limits, with an unset `body` derived from a context of so many tokens."""
        return self if self.body is not None else replace(self, body=BODY_BYTES + BODY_BYTES_A_TOKEN * tokens)

    @property
    def body_bytes(self) -> int:
        """Largest number of bytes of a request's body."""
        return BODY_BYTES if self.body is None else self.body
