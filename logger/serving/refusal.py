"""Answers to requests that the HTTP parser refuses, which never reach the application."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus


async def at_once() -> None:
    """No pause."""


@dataclass(frozen=True)
class Refusal:
    """The answer to a request that is not HTTP, or whose headers are too large.

    Attributes:
        body: makes its JSON body, from the request's path as far as it was parsed, the status, and words for the
            client.
        pause: waits before the answer leaves.
    """

    body: Callable[[str, int, str], bytes]
    pause: Callable[[], Awaitable[None]] = at_once

    def response(self, target: bytes, status: int, words: str) -> bytes:
        """The whole response to a request for a target. The connection ends with it."""
        body = self.body(target.partition(b"?")[0].decode("latin-1"), status, words)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return head.encode("ascii") + body
