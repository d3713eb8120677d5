"""Whether the sidecar can serve now."""

import asyncio
import time

from logger.events import Events
from logger.sidecar.recorder import Recorder
from logger.sidecar.service import Service
from logger.sidecar.upstream import Upstream

READY_SECONDS = 5.0
"""What /ready says of the upstream server may be so old."""


class Readiness:
    """Why nothing can be served now, in fixed words; the upstream server is asked every few seconds at most.

    What is wrong with that server is said to the operator alone.
    """

    def __init__(self, service: Service, recorder: Recorder, upstream: Upstream, events: Events) -> None:
        self._service, self._recorder, self._upstream, self._events = service, recorder, upstream, events
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self._unfit: str | None = None

    async def __call__(self) -> str | None:
        if self._service.stopping:
            return "stopping"
        if self._recorder.failing:
            return "the log cannot be written"
        async with self._asking:
            if time.monotonic() - self._asked > READY_SECONDS:
                unfit = await self._upstream.check()
                if unfit != self._unfit:
                    self._events.say("upstream", unfit=unfit)
                self._unfit, self._asked = unfit, time.monotonic()
        return None if self._unfit is None else "the inference server is not ready"
