"""Counters and open seeds in the log's database."""

from collections.abc import Sequence
from contextlib import suppress

from weightwarden.logger.sidecar.log.recorder import DraftRecorder
from weightwarden.logger.store.changes import OpenSeed
from weightwarden.logger.store.errors import LogBusy, LogClosed
from weightwarden.logger.store.writer import LogWriter


class LogSeeds:
    """Store of counters and open seeds (`SeedStore`) whose failures are those of the log's recorder."""

    def __init__(self, log: LogWriter, recorder: DraftRecorder) -> None:
        """The seeds of a log.

        Args:
            log: the writer.
            recorder: reports failures.
        """
        self._log, self._recorder = log, recorder

    async def reserve_seeds(self, number: int) -> int:
        """The first of so many reserved seed counters (`LogWriter.reserve_seeds`).

        Raises:
            LogWriteError: the reservation cannot be written.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
        """
        with self._recorder.noticed():
            return await self._log.reserve_seeds(number)

    async def open_seeds(self, seeds: Sequence[OpenSeed]) -> None:
        """Record seeds of requests that are not complete (`LogWriter.open_seeds`).

        Raises:
            LogWriteError: the seeds cannot be written.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
        """
        with self._recorder.noticed():
            await self._log.open_seeds(seeds)

    def close_seeds(self, counters: Sequence[int]) -> None:
        """Forget open seeds. A seed that stays open is only issued again to an equal request after a restart."""
        with suppress(LogBusy, LogClosed):
            self._log.close_seeds(counters)
