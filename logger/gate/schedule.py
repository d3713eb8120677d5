"""The schedule of a choice: on which moments its groups leave. A function of the moments at which they were there."""

from math import ceil, floor, log

from weightwarden.logger.release import FIRST_SLOT_SECONDS, SLOT_RATIO, SLOTS, slot_seconds

_SLACK = 1e-6
"""Seconds by which a moment may be early: clocks and sums are not exact."""


def first_slot(seconds: float) -> int:
    """The first slot whose moment is not before so many seconds after the request's arrival."""
    if seconds <= FIRST_SLOT_SECONDS:
        return 0
    slot = max(0, ceil(log(seconds / FIRST_SLOT_SECONDS) / log(SLOT_RATIO)) - 1)
    while slot < SLOTS - 1 and slot_seconds(slot) < seconds - _SLACK:
        slot += 1
    return slot


class Schedule:
    """The moments of one choice, in seconds of any clock.

    Attributes:
        start_slot: slot of the first group, or None before it left.
        missed: ticks that found too few tokens, before each group that left.
    """

    def __init__(self, arrived: float, tick: float, earliest: int = 0) -> None:
        """A schedule on which nothing left.

        Args:
            arrived: moment of the request's arrival.
            tick: time between two ticks.
            earliest: first slot on which it may start.
        """
        self._arrived, self._tick, self._earliest = arrived, tick, earliest
        self.start_slot: int | None = None
        self.missed: list[int] = []
        self._start, self._ticks = 0.0, 0

    def due(self, came: float) -> float:
        """The moment at which the next group leaves if it came then."""
        if self.start_slot is None:
            return self._arrived + slot_seconds(self._first_slot(came))
        ticks = max(self._ticks + 1, ceil((came - self._start - _SLACK) / self._tick))
        return self._start + ticks * self._tick

    def leave(self, came: float, now: float) -> None:
        """Let the next group leave: on its moment, or, if this is called too late, on the last one before `now`."""
        due = self.due(came)
        if self.start_slot is None:
            slot = self._first_slot(came)
            while slot < SLOTS - 1 and self._arrived + slot_seconds(slot + 1) <= now:
                slot += 1
            self.start_slot, self._start = slot, self._arrived + slot_seconds(slot)
            self.missed.append(0)
            return
        late = floor((now - due + _SLACK) / self._tick)
        ticks = round((due - self._start) / self._tick) + max(0, late)
        self.missed.append(ticks - self._ticks - 1)
        self._ticks = ticks

    def _first_slot(self, came: float) -> int:
        return max(self._earliest, first_slot(came - self._arrived))
