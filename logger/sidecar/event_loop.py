"""Set-up of the event loop of a sidecar's process, and its background work."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from weightwarden.logger.serving.event_log import Events

SWITCH_SECONDS = 0.0005
"""Seconds for which the event loop may hold the interpreter while the commit thread waits."""


def prepare(events: Events) -> None:
    """Prepare this process for serving. Called within its event loop, once all that it serves with is loaded.

    Libraries' loggers are silenced: their exception texts may hold a client's text. The sidecar has its own log.
    """
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: events.defect(context.get("exception") or RuntimeError())
    )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "aiohttp"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # objects loaded until now live to the end: the collector can skip them


@asynccontextmanager
async def background(work: Coroutine[None, None, None], events: Events) -> AsyncIterator[None]:
    """Work that runs within the block. A failure is reported."""

    def done(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            events.defect(error)

    task = asyncio.ensure_future(work)
    task.add_done_callback(done)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
