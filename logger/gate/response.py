"""A response in the gate: groups of its choices, or its whole body, and the moments at which they leave."""

from collections import deque
from typing import Any

from weightwarden.logger.gate.frames import Frame, Kind
from weightwarden.logger.gate.schedule import Schedule
from weightwarden.logger.release import run_lengths

WHOLE_SLOT = 14
"""First slot on which a response leaves that is not streamed: 0.23 seconds after its request.

Most of these have no record that would hold the slot (`/health`, refusals), and the server could choose among the
earlier slots by keeping the sidecar busy.
"""


class _Choice:
    """Groups of a choice that wait for their moments."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.complete = False

    @property
    def done(self) -> bool:
        return self.complete and not self.waiting


class GatedResponse:
    """A response on its way to a client.

    A streamed response leaves group by group. Its head leaves with the first group, and what follows the last groups
    with the last one. Another response leaves whole, on the first slot, from `WHOLE_SLOT` on, at which it is complete.
    """

    def __init__(self, arrived: float, tick: float) -> None:
        """A response of which nothing is there.

        Args:
            arrived: moment of the request's arrival, seconds of any clock.
            tick: time between two ticks, seconds.
        """
        self._arrived, self._tick = arrived, tick
        self._choices: list[_Choice] = []
        self._head, self._tail = bytearray(), bytearray()
        self._closing: _Choice | None = None
        self._grouped, self._begun = False, False
        self._ended: float | None = None
        self._whole = Schedule(arrived, tick, WHOLE_SLOT)
        self.complete = False
        """True once all of it left."""

    @property
    def ended(self) -> bool:
        """True once all of it is there."""
        return self._ended is not None

    def add(self, frame: Frame, now: float) -> None:
        """Take a frame of the sidecar (`BEGIN`, `TEXT`, `GROUP`)."""
        if frame.kind is Kind.BEGIN:
            self._choices = [_Choice(Schedule(self._arrived, self._tick)) for _ in range(frame.choice)]
        elif frame.kind is Kind.GROUP:
            self._grouped = True
            choice = self._choices[frame.choice]
            choice.waiting.append((now, frame.payload))
            if frame.last:
                choice.complete = True
                if all(one.complete for one in self._choices):
                    self._closing = choice
        else:
            (self._tail if self._grouped else self._head).extend(frame.payload)

    def end(self, now: float) -> None:
        """Note that nothing is to come. Choices that were not complete end with what they have."""
        self._ended = now
        for choice in self._choices:
            choice.complete = True

    def moment(self) -> float | None:
        """The moment at which something leaves next, if nothing more comes before; None if nothing waits."""
        if not self._choices:
            return None if self._ended is None else self._whole.due(self._ended)
        moments = [due for choice in self._choices if (due := self._due(choice)) is not None]
        if not moments and self._ended is not None:
            return self._ended
        return min(moments, default=None)

    def _due(self, choice: _Choice) -> float | None:
        came = self._came(choice)
        return None if came is None else choice.schedule.due(came)

    def _came(self, choice: _Choice) -> float | None:
        """The moment at which a choice's next group was there. The very last one takes along what follows it."""
        if not choice.waiting:
            return None
        came = choice.waiting[0][0]
        if choice is self._closing and len(choice.waiting) == 1:
            return None if self._ended is None else max(came, self._ended)
        return came

    def leave(self, now: float) -> bytes:
        """The bytes that leave at a moment, groups in the order of the choices."""
        if not self._choices:
            assert self._ended is not None
            self._whole.leave(self._ended, now)
            self.complete = True
            return bytes(self._head)
        leaving: list[bytes] = []
        for choice in self._choices:
            came = self._came(choice)
            if came is not None and choice.schedule.due(came) <= now:
                choice.schedule.leave(came, now)
                leaving.append(choice.waiting.popleft()[1])
        if leaving and not self._begun:
            self._begun = True
            leaving.insert(0, bytes(self._head))
        if self._ended is not None and all(choice.done for choice in self._choices):
            self.complete = True
            leaving.append(bytes(self._tail))
        return b"".join(leaving)

    def report(self) -> dict[str, Any]:
        """The schedules, of the choices of a streamed response, or of the whole one."""
        schedules = [choice.schedule for choice in self._choices] or [self._whole]
        return {
            "complete": self.complete,
            "streamed": bool(self._choices),
            "schedules": [{"start_slot": one.start_slot, "underruns": run_lengths(one.missed)} for one in schedules],
        }
