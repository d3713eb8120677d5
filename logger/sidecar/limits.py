"""Limits of one client of the sidecar, and of all clients together."""

from dataclasses import dataclass, replace

from weightwarden.logger.serving.connection_limits import BODY_BYTES, ConnectionLimits

BODY_BYTES_A_TOKEN = 32
"""Bytes of a request's body for each token of the context, beside `BODY_BYTES`, unless the operator says otherwise.

A token of a text takes 3 to 12 bytes of JSON, a token id up to 8.
"""


@dataclass(frozen=True, kw_only=True)
class Limits(ConnectionLimits):
    """Limits of the sidecar.

    Attributes:
        concurrent: choices under way at once.
        choices: choices of one request, over all its prompts.
        prompt: tokens of a prompt; None for what the context holds.
        first_token: seconds that the upstream server may take to its first token.
        stall: seconds that the upstream server may take between two tokens.
        drain_timeout: seconds that answers may go on after SIGTERM.
        ready: seconds between two checks of the upstream server's readiness.
    """

    concurrent: int = 256
    choices: int = 16
    prompt: int | None = None
    first_token: float = 600.0
    stall: float = 120.0
    drain_timeout: float = 30.0
    ready: float = 10.0

    def for_context(self, tokens: int) -> "Limits":
        """These limits, with those of a body that a context of so many tokens allows where none were set."""
        return self if self.body is not None else replace(self, body=BODY_BYTES + BODY_BYTES_A_TOKEN * tokens)
