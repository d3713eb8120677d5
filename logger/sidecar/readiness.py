"""Readiness of the sidecar, answered from memory."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import floor

from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.recorder import DraftRecorder
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.service import Service
from weightwarden.logger.sidecar.upstream.replicas import Replica, Replicas

FIRST_SECONDS = 1.0
"""Longest time, in seconds, until the result of the first check of the server is published."""
SILENT = "does not say in time what it serves"


@dataclass(frozen=True)
class Readiness:
    """The reason why no request can be served now, in fixed words, answered from memory.

    Of several servers one that is ready is enough, so that together they choose one of two states a tick. A server's
    fault is reported to the operator alone. The cause why the log cannot be written is the sidecar's own finding.

    Attributes:
        service: its `stopping` means not ready.
        recorder: its `failing` means not ready.
        replicas: the servers.
    """

    service: Service
    recorder: DraftRecorder
    replicas: Replicas

    def __call__(self) -> str | None:
        if self.service.stopping:
            return "stopping"
        if self.recorder.failing:
            return f"the log cannot be written: {self.recorder.cause}"
        return "the inference server is not ready" if self.replicas.unfit else None


class ServerChecks:
    """A timer that checks the inference servers.

    The result of a check is published on the timer's next tick, whenever the server answered, and holds until the tick
    after that. No client causes a check, and no server can choose the moment at which the state changes: it chooses
    one of two states a tick.
    """

    def __init__(
        self,
        replicas: Replicas,
        events: Events,
        metrics: Metrics,
        *,
        period: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        published: Callable[[], object] = lambda: None,
    ) -> None:
        """A timer before its first check.

        Args:
            replicas: the servers that are checked.
            events: the operator's log.
            metrics: the operator's metrics.
            period: seconds between two ticks.
            clock: the event loop's clock, seconds.
            sleep: waits so many seconds.
            published: is called once results are published.
        """
        self._replicas, self._events = replicas, events
        self._period, self._clock, self._sleep = period, clock, sleep
        self._metrics, self._published = metrics, published
        self._named = False

    async def watch(self) -> None:
        """Check the servers at every tick. Never returns."""
        started = self._clock()
        await self._look(min(self._period, FIRST_SECONDS))
        while True:
            ticks = floor((self._clock() - started) / self._period) + 1
            await self._look(started + ticks * self._period - self._clock())

    async def _look(self, seconds: float) -> None:
        """Check the servers now, and publish the results after so many seconds."""
        asking = [asyncio.ensure_future(one.client.check()) for one in self._replicas.all]
        try:
            await self._sleep(seconds)
        finally:
            found = [self._result(one) for one in asking]
        for replica, unfit in zip(self._replicas.all, found, strict=True):
            self._publish(replica, unfit)
        self._metrics.upstream_up.set(not self._replicas.unfit)
        self._published()

    def _result(self, asking: "asyncio.Future[str | None]") -> str | None:
        """The result of a check, which is given up if it is not done."""
        if not asking.done():
            asking.cancel()
            return SILENT
        if (error := asking.exception()) is not None:
            self._events.defect(error)
            return SILENT
        return asking.result()

    def _publish(self, replica: Replica, unfit: str | None) -> None:
        if unfit != replica.unfit:
            name = self._replicas.name(replica)
            named = {} if name is None else {"replica": name}
            self._events.say("upstream", unfit=unfit, serves=self._names(replica), **named)
        self._replicas.checked(replica, unfit)

    def _names(self, replica: Replica) -> str | None:
        """The models that a server serves instead, the first time that one lists any; later None.

        They are the server's text, so that they are few, short, and reported once in a run.
        """
        if self._named or not replica.client.others:
            return None
        self._named = True
        return ", ".join(replica.client.others)
