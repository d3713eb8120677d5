"""Answers become records in the log, whatever happens to them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.canonical import TOKEN_DTYPE, decode_record, encode_record
from weightwarden.logger.record import CUT_OFF_BY_LOGGER, Record
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.store.changes import OpenSeed
from weightwarden.logger.store.draft import Draft
from weightwarden.logger.store.errors import LogBusy, LogClosed, LogForked, LogWriteError
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.text.ending import Ending

RETRY_SECONDS = 1.0
LOG_FAILURES = (LogWriteError, LogForked, LogClosed)


def ended(asked: Record, ids: Sequence[int], ending: Ending) -> Record:
    """The record of an answer: what was asked, its tokens, and how it ended.

    The tokens are from the upstream's ids, which were checked already; nothing else is new.
    """
    return asked.model_copy(
        update={
            "output_token_ids": list(ids),
            "finish_reason": ending.finish_reason,
            "stop_reason": ending.stop_reason,
        }
    )


def recover(log: LogWriter) -> int:
    """Make records of the answers that an earlier process left behind; how many there were.

    Raises:
        LogWriteError, LogForked, LogCorrupt, LogUnreadable, RecordEncodingError.
    """
    left = log.drafts()
    for number, draft in left.items():
        asked = decode_record(draft.payload)
        ids = np.frombuffer(draft.tokens, TOKEN_DTYPE).tolist()
        log.end_draft(number, encode_record(ended(asked, ids, Ending("abort", CUT_OFF_BY_LOGGER)))).result()
    return len(left)


class DraftRecorder:
    """Keeps drafts in the log and makes records of them, again and again while the log cannot be written.

    Used within one event loop.
    """

    def __init__(self, log: LogWriter, metrics: Metrics) -> None:
        self._log, self._metrics = log, metrics
        self._failing = False
        self._unwritten: list[tuple[Draft, bytes, Ending]] = []
        self._ends: set[asyncio.Task[None]] = set()

    def draft(self, asked: Record) -> Draft:
        """A draft of an answer of which nothing is known yet.

        Raises:
            RecordEncodingError: the record would be too large.
        """
        return self._log.draft(encode_record(asked))

    @property
    def failing(self) -> bool:
        """Whether the log could not be written when that was last tried."""
        return self._failing

    async def extend(self, draft: Draft, tokens: bytes) -> None:
        """Add tokens to a draft, and wait until they are durable.

        Raises:
            LogWriteError, LogForked, LogClosed.
        """
        with self._noticed():
            await draft.extend(tokens)

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except LOG_FAILURES:
            self._failing = True
            self._metrics.log_failures.inc()
            raise

    async def reserve_seeds(self, number: int) -> int:
        """The first of so many seed counters (`LogWriter.reserve_seeds`).

        Raises:
            LogWriteError, LogForked, LogClosed.
        """
        with self._noticed():
            return await self._log.reserve_seeds(number)

    async def open_seeds(self, seeds: Sequence[OpenSeed]) -> None:
        """Record seeds of requests that are not complete (`LogWriter.open_seeds`).

        Raises:
            LogWriteError, LogForked, LogClosed.
        """
        with self._noticed():
            await self._log.open_seeds(seeds)

    def close_seeds(self, counters: Sequence[int]) -> None:
        """Forget open seeds; one that stays open is issued again to an equal request after a restart, and only then."""
        with suppress(LogBusy, LogClosed):
            self._log.close_seeds(counters)

    async def end(self, draft: Draft, asked: Record, ids: Sequence[int], ending: Ending) -> None:
        """Make a draft a record, and wait until that is durable; cancelled, it is done all the same.

        Raises:
            LogWriteError, LogForked, LogClosed: not now; it is tried again (`retry`).
        """
        task = asyncio.ensure_future(self._end(draft, encode_record(ended(asked, ids, ending)), ending))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        await asyncio.shield(task)

    async def _end(self, draft: Draft, payload: bytes, ending: Ending) -> None:
        try:
            with self._noticed():
                await draft.end(payload)
        except LOG_FAILURES:
            self._unwritten.append((draft, payload, ending))
            raise
        self._ended(ending)

    def _ended(self, ending: Ending) -> None:
        by = str(ending.stop_reason) if ending.finish_reason == "abort" else ending.finish_reason
        self._metrics.answers.labels(by).inc()

    async def retry(self) -> None:
        """While the log cannot be written, try it, and write what could not be written; never returns."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(*LOG_FAILURES):
                if self._failing:
                    await self._log.reserve_seeds(1)
                while self._unwritten:
                    draft, payload, ending = self._unwritten[0]
                    await draft.end(payload)
                    self._unwritten.pop(0)
                    self._ended(ending)
                self._failing = False

    async def settle(self) -> None:
        """Wait until every end that is under way is written, or has failed; what failed is left to `recover`."""
        with suppress(WeightwardenError):
            await asyncio.gather(*self._ends, return_exceptions=True)
