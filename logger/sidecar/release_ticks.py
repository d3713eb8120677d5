"""Release of tokens on fixed ticks: the time at which a token leaves says little of when the server drew it."""

import asyncio
from collections.abc import Callable
from math import floor

Rank = tuple[int, int]
"""The number of a request, in the order of the clients' requests, and the index of its choice."""


class Ticks:
    """A grid of moments that all answers share. A token that is ready between two ticks leaves on the later one.

    Tokens of one tick leave in the order of their ranks, which the server cannot influence. Otherwise the order in
    which *n* choices become ready would carry log2(n!) bits a tick.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """A grid at the multiples of a number of seconds.

        Args:
            seconds: distance of two ticks.
            clock: the event loop's clock, seconds.
        """
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
        """Wake the waiters of a tick by rank. The event loop resumes them in that order."""
        for _, leave in sorted(self._waiting.pop(tick), key=lambda one: one[0]):
            if not leave.done():
                leave.set_result(None)
