"""The body of an HTTP request: not too large, and in time."""

import asyncio

from starlette.types import Message, Receive

from weightwarden.errors import WeightwardenError


class BodyRefused(WeightwardenError):
    """A body that is incomplete, too large or too slow; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(receive: Receive, *, most: int, seconds: float) -> bytes:
    """The whole body of a request.

    Args:
        most: bytes. seconds: within which it must be there.

    Raises:
        BodyRefused: it is larger, slower, or the client is gone.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message: Message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyRefused(400, "the body is incomplete")
                block = message.get("body", b"")
                size += len(block)
                last = not message.get("more_body", False)
                if size <= most:
                    parts.append(block)
                elif last or size > 2 * most:  # some is read in vain, so that the client hears why
                    raise BodyRefused(413, f"the body is larger than {most} bytes")
                if last:
                    return b"".join(parts)
    except TimeoutError:
        raise BodyRefused(408, "the body did not come in time") from None
