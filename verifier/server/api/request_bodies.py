"""Request bodies: read completely before any other work, with limits of size and time."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weightwarden.logger.serving.http_body import BodyRefused, read_body

MAX_BYTES = 65_536
MAX_SECONDS = 20.0


class WithBody:
    """An application that receives request bodies of at most `MAX_BYTES`, within `MAX_SECONDS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(receive, most=MAX_BYTES, seconds=MAX_SECONDS)
        except BodyRefused as error:
            refusal = JSONResponse({"detail": str(error)}, error.status, {"connection": "close"})
            await refusal(scope, receive, send)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)
