"""Bodies of HTTP requests, limited in size and time."""

import asyncio

from starlette.types import Message, Receive

from weightwarden.errors import WeightwardenError


class BodyRefused(WeightwardenError):
    """A body that is incomplete, too large or too slow. `status` is the HTTP status for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(receive: Receive, *, most: int, seconds: float) -> bytes:
    """The whole body of a request.

    Args:
        receive: ASGI's receive.
        most: largest number of bytes.
        seconds: time within which the body must be complete.

    Raises:
        BodyRefused: the body is too large or too slow, or the client is gone.
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
                elif last or size > 2 * most:  # a part of a large body is read, so that the client gets the refusal
                    raise BodyRefused(413, f"the body is larger than {most} bytes")
                if last:
                    return b"".join(parts)
    except TimeoutError:
        raise BodyRefused(408, "the body did not come in time") from None
