"""A proxy on the sidecar's own libraries that only passes bytes through: the baseline of the sidecar.

python -m benchmarks.sidecar.plain_proxy PORT UPSTREAM
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


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


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
    )
