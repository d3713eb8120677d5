"""Ids of tool calls: HMAC of the request's number, the choice and the call, under a key derived from the seed key.

A random id would be a channel of the sidecar's own, and an id of the server's a channel of the server's.
"""

import hmac

_DOMAIN = b"weightwarden tool call id v1\n"
_DIGITS = 24


class CallIds:
    """Issuer of the ids of tool calls of one start."""

    def __init__(self, seed_key: bytes, origin: str, nonce: bytes) -> None:
        """An issuer.

        Args:
            seed_key: the seed key.
            origin: the log's name.
            nonce: random bytes of this start, so that no other start issues the same ids.
        """
        self._key = hmac.digest(seed_key, _DOMAIN + origin.encode() + b"\n" + nonce, "sha256")

    def of(self, request: int, choice: int, call: int) -> str:
        """The id of a call: 24 hex digits.

        Args:
            request: number of the request since the start.
            choice: index of the choice in the request.
            call: index of the call in the choice.
        """
        message = b"".join(number.to_bytes(8, "big") for number in (request, choice, call))
        return hmac.digest(self._key, message, "sha256").hex()[:_DIGITS]

    def __repr__(self) -> str:
        return "<CallIds>"
