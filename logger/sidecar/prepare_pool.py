"""Thread pool that prepares large requests off the event loop, with few threads and a short queue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from weightwarden.logger.sidecar.errors import busy

Result = TypeVar("Result")

THREADS = 2
WAITING = 32
"""Largest number of jobs that wait or run. An abandoned job counts until it is done."""


class PreparePool:
    """Pool of threads that run jobs."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING, name: str = "prepare") -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = waiting

    async def run(self, job: Callable[[], Result]) -> Result:
        """The result of a job.

        Raises:
            ApiError: too many jobs wait.
        """
        if self._free <= 0:
            raise busy()
        self._free -= 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(job)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._free += 1

    def close(self) -> None:
        """Drop the jobs that wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)
