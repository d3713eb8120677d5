"""Notary of the sidecar: checkpoints, cosignatures and archives at their intervals, with reports of failures."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from prometheus_client import Counter

from weightwarden.errors import WeightwardenError
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.checkpointer import Checkpointer
from weightwarden.logger.sidecar.log.cosigner import Cosigner
from weightwarden.logger.sidecar.log.failure_cause import ADVICE
from weightwarden.logger.sidecar.log.trouble import Trouble
from weightwarden.logger.sidecar.metrics import Metrics


class Notary:
    """Timer over a checkpointer. A failure is reported once, counted, and the work is tried again."""

    def __init__(
        self,
        checkpointer: Checkpointer,
        cosigner: Cosigner,
        metrics: Metrics,
        events: Events,
        *,
        checkpoint_every: float,
        seal_every: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A notary whose metrics begin now.

        Args:
            checkpointer: signs and seals.
            cosigner: has checkpoints cosigned.
            metrics: the sidecar's metrics.
            events: the operator's log.
            checkpoint_every: seconds between checkpoints.
            seal_every: seconds between archives.
            clock: Unix time, seconds.
        """
        self._checkpointer, self._cosigner = checkpointer, cosigner
        self._metrics, self._events, self._clock = metrics, events, clock
        self._checkpoint_every, self._seal_every = checkpoint_every, seal_every
        self._checkpoint_trouble, self._seal_trouble = Trouble("checkpoint", events), Trouble("sealing", events)
        self._sealed_size = 0
        for cause in ADVICE:  # a series that begins with its first failure has no increase
            metrics.checkpoint_failures.labels(cause)
            metrics.seal_failures.labels(cause)
        metrics.checkpoint_size.set_function(lambda: checkpointer.size)
        metrics.last_checkpoint.set(clock())
        metrics.last_archive.set(clock())

    async def run(self) -> None:
        """Sign and seal at the intervals. Never returns."""
        sealed = time.monotonic()
        await asyncio.to_thread(self._look)
        while True:
            await asyncio.sleep(self._checkpoint_every)
            await asyncio.to_thread(self.certify)
            if time.monotonic() - sealed >= self._seal_every and await asyncio.to_thread(self.seal):
                sealed = time.monotonic()
            await asyncio.to_thread(self._look)

    def certify(self) -> None:
        """Sign a checkpoint, and have the newest one cosigned. A failure is reported."""
        if self._tried(self._checkpointer.certify, self._checkpoint_trouble, self._metrics.checkpoint_failures):
            self._metrics.last_checkpoint.set(self._clock())
        self._cosigner.cosign(self._checkpointer.newest)

    def seal(self) -> bool:
        """True if the sealing succeeded. A failure is reported."""
        begun = time.perf_counter()
        if not self._tried(self._checkpointer.seal, self._seal_trouble, self._metrics.seal_failures):
            return False
        if self._checkpointer.archives is not None:
            self._metrics.seal_seconds.observe(time.perf_counter() - begun)
            self._metrics.last_archive.set(self._clock())
        return True

    def _tried(self, work: Callable[[], bool], trouble: Trouble, failures: Counter) -> bool:
        """True if the work was done; False if it failed, or if another process seals."""
        try:
            done = work()
        except WeightwardenError as error:
            failures.labels(trouble.begin(error)).inc()
        except Exception as error:  # any exception type: an archive's URL may lead to any fsspec store
            self._events.defect(error)
            failures.labels(trouble.begin(error)).inc()
        else:
            if done:
                trouble.end()
            return done
        return False

    def _look(self) -> None:
        """Publish how many records are in no archive, whichever process seals them."""
        with suppress(WeightwardenError):  # the writer reports a database that is gone
            sealed = self._checkpointer.sealed_size()
            unsealed = max(self._checkpointer.log.size - sealed, 0)
            if sealed > self._sealed_size or not unsealed:
                self._metrics.last_archive.set(self._clock())
            self._sealed_size = sealed
            self._metrics.unsealed_records.set(unsealed)  # last: who sees it finds the moment that belongs to it
