"""Release on fixed ticks, so that when a token leaves says little of when the server drew it."""

import asyncio
from collections.abc import Callable
from math import floor

Rank = tuple[int, int]
"""The number of a request, in the order in which clients asked, and of a choice of it."""


class Ticks:
    """A grid of moments, the same for all answers: what is ready between two leaves on the later one.

    What leaves on one tick leaves by rank: in an order that the server has no say in. Otherwise the order in which
    several choices become ready, log2(n!) bits a tick, would be read on the other side.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """Args: clock: of the event loop, seconds."""
        self._seconds, self._clock = seconds, clock
        self._waiting: dict[int, list[tuple[Rank, asyncio.Future[None]]]] = {}

    async def next(self, rank: Rank) -> None:
        """Wait for the next tick."""
        now = self._clock()
        tick = floor(now / self._seconds) + 1
        loop = asyncio.get_running_loop()
        if tick not in self._waiting:
            self._waiting[tick] = []
            loop.call_later(tick * self._seconds - now, self._release, tick)
        leave: asyncio.Future[None] = loop.create_future()
        self._waiting[tick].append((rank, leave))
        await leave

    def _release(self, tick: int) -> None:
        """Wake what waits for a tick, by rank; the event loop goes on with it in that order."""
        for _, leave in sorted(self._waiting.pop(tick), key=lambda one: one[0]):
            if not leave.done():
                leave.set_result(None)
