"""Readiness of the sidecar, answered from memory."""

import asyncio
from collections.abc import Awaitable, Callable
from math import floor

from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.recorder import DraftRecorder
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.service import Service
from weightwarden.logger.sidecar.upstream.client import Upstream

FIRST_SECONDS = 1.0
"""Longest time, in seconds, until the result of the first check of the server is published."""
SILENT = "does not say in time what it serves"


class Readiness:
    """The reason why no request can be served now, in fixed words, answered from memory.

    A timer checks the inference server. The result of a check is published on the timer's next tick, whenever the
    server answered, and holds until the tick after that. No client causes a check, and the server cannot choose the
    moment at which the state changes: it chooses one of two states a tick. The server's fault is reported to the
    operator alone. The cause why the log cannot be written is the sidecar's own finding.
    """

    def __init__(
        self,
        service: Service,
        recorder: DraftRecorder,
        upstream: Upstream,
        events: Events,
        metrics: Metrics,
        *,
        period: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """A readiness that is negative until the first check.

        Args:
            service: its `stopping` means not ready.
            recorder: its `failing` means not ready.
            upstream: the server that is checked.
            events: the operator's log.
            metrics: the operator's metrics.
            period: seconds between two ticks.
            clock: the event loop's clock, seconds.
            sleep: waits so many seconds.
        """
        self._service, self._recorder, self._upstream, self._events = service, recorder, upstream, events
        self._period, self._clock, self._sleep = period, clock, sleep
        self._metrics = metrics
        self._unfit: str | None = "was not asked yet"
        self._named = False

    def __call__(self) -> str | None:
        if self._service.stopping:
            return "stopping"
        if self._recorder.failing:
            return f"the log cannot be written: {self._recorder.cause}"
        return None if self._unfit is None else "the inference server is not ready"

    async def watch(self) -> None:
        """Check the server at every tick. Never returns."""
        started = self._clock()
        await self._look(min(self._period, FIRST_SECONDS))
        while True:
            ticks = floor((self._clock() - started) / self._period) + 1
            await self._look(started + ticks * self._period - self._clock())

    async def _look(self, seconds: float) -> None:
        """Check the server now, and publish the result after so many seconds."""
        asking = asyncio.ensure_future(self._upstream.check())
        try:
            await self._sleep(seconds)
            unfit = asking.result() if asking.done() else SILENT
        except Exception as error:
            self._events.defect(error)
            unfit = SILENT
        finally:
            asking.cancel()
        if unfit != self._unfit:
            self._events.say("upstream", unfit=unfit, serves=self._names())
        self._unfit = unfit
        self._metrics.upstream_up.set(unfit is None)

    def _names(self) -> str | None:
        """The models that the server serves instead, the first time that it lists any; later None.

        They are the server's text, so that they are few, short, and reported once in a run.
        """
        if self._named or not self._upstream.others:
            return None
        self._named = True
        return ", ".join(self._upstream.others)
