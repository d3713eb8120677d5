"""What an operator allows one client, and all of them together."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the sidecar; sizes in bytes or tokens, times in seconds.

    Attributes:
        concurrent: choices under way at once. connections: open at once, idle ones included.
        choices: of one request, over all its prompts. body: bytes of a request's body. prompt: tokens of a prompt.
        headers, header_bytes: within which a request's headers must be complete. receive: for the body.
        idle: between two requests of one connection. send: that a client may leave what it is sent unread.
        first_token, stall: that the upstream server may take to its first token, and between two.
        drain: that answers may go on after SIGTERM.
    """

    concurrent: int = 256
    connections: int = 1024
    choices: int = 16
    body: int = 4 * 2**20
    prompt: int | None = None
    headers: float = 10.0
    header_bytes: int = 32_768
    receive: float = 60.0
    idle: float = 30.0
    send: float = 60.0
    first_token: float = 600.0
    stall: float = 120.0
    drain: float = 30.0
