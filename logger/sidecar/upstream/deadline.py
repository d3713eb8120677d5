"""A deadline for the current task that can be extended once per token at no cost."""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Raises `TimeoutError` in the task that waits within the block when its time is up, as `asyncio.timeout` does.

    Giving more time costs nothing, so that it can be done for every token: the timer looks at the deadline only when
    it fires.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._deadline = self._loop.time() + seconds
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    def renew(self, seconds: float) -> None:
        """Wait so many seconds from now."""
        self._deadline = self._loop.time() + seconds

    def suspend(self) -> None:
        """Wait without a limit until renewed."""
        self._deadline = float("inf")

    def __enter__(self) -> Self:
        self._look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._expired or self._task is None:
            return
        others = self._task.uncancel()  # how often somebody else cancelled it, too
        if isinstance(error, asyncio.CancelledError) and not others:
            raise TimeoutError from error

    def _look(self) -> None:
        left = self._deadline - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(min(left, 1.0), self._look)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()
