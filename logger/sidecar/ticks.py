"""Release on fixed ticks, so that when a token leaves says little of when the server drew it."""

import asyncio
from collections.abc import Callable
from math import floor


class Ticks:
    """A grid of moments, the same for all answers: what is ready between two leaves on the later one."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """Args: clock: of the event loop, seconds."""
        self._seconds, self._clock = seconds, clock

    async def next(self) -> None:
        """Wait for the next tick."""
        now = self._clock()
        await asyncio.sleep((floor(now / self._seconds) + 1) * self._seconds - now)
