"""A proxy on the sidecar's own libraries that only passes bytes through: the baseline of the sidecar.

python -m benchmarks.sidecar.plain_proxy PORT UPSTREAM [PROCESSES]
"""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.sidecar.side_by_side import serve_side_by_side


def application(upstream: str) -> Starlette:
    """The proxy."""
    sessions: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            sessions.append(session)
            yield

    async def proxy(request: Request) -> StreamingResponse:
        body = await request.body()
        response = await sessions[0].post(upstream + request.url.path, data=body)

        async def passed_on() -> AsyncIterator[bytes]:
            async with response:  # a client that leaves ends the upstream's answer, too
                async for block in response.content.iter_any():
                    yield block

        return StreamingResponse(passed_on(), response.status, media_type=response.headers["content-type"])

    return Starlette(routes=[Route("/v1/completions", proxy, methods=["POST"])], lifespan=lifespan)


def serve(upstream: str, listening: socket.socket) -> None:
    """Serve a listening socket until SIGTERM."""
    config = uvicorn.Config(application(upstream), loop="uvloop", http="httptools", access_log=False, log_level="error")
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve_side_by_side(partial(serve, sys.argv[2]), int(sys.argv[1]), int(sys.argv[3]) if sys.argv[3:] else 1)
