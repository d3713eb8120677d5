"""A deadline for the current task that can be extended once per token at no cost."""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Context manager that raises `TimeoutError` in its task when the time is up, like `asyncio.timeout`.

    Extending the deadline costs nothing, so that every token can do it: the timer compares the deadline only when it
    fires.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._deadline = self._loop.time() + seconds
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    def renew(self, seconds: float) -> None:
        """Set the deadline to so many seconds from now."""
        self._deadline = self._loop.time() + seconds

    def suspend(self) -> None:
        """Remove the deadline until it is renewed."""
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
        others = self._task.uncancel()  # number of cancellations by others
        if isinstance(error, asyncio.CancelledError) and not others:
            raise TimeoutError from error

    def _look(self) -> None:
        left = self._deadline - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(min(left, 1.0), self._look)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()
