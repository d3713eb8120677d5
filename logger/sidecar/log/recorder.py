"""Recorder of drafts: every answer becomes a record of the log."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import numpy as np

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.canonical import TOKEN_DTYPE, decode_record, encode_record
from weightwarden.logger.record import CUT_OFF_BY_LOGGER, Record, Segment
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.trouble import Trouble
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.store.draft import Draft
from weightwarden.logger.store.errors import LogClosed, LogForked, LogWriteError
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.text.ending import Ending

RETRY_SECONDS = 1.0
LOG_FAILURES = (LogWriteError, LogForked, LogClosed)


CUT_OFF = Ending("abort", CUT_OFF_BY_LOGGER)
"""The end of an answer that the logger did not see to its end."""


def ended(asked: Record, ids: Sequence[int], ending: Ending, forced: int = 0) -> Record:
    """The record of an answer: the request, its tokens, and its end.

    The tokens are ids of the upstream server, which were checked already, and ids of the trusted tokenizer.

    Args:
        asked: a record of the request; its own tokens are left out.
        ids: the answer's tokens.
        ending: its end.
        forced: number of forced tokens. They begin where the reasoning's budget ends, and were made durable together.
    """
    return asked.model_copy(
        update={
            "output_token_ids": list(ids),
            "finish_reason": ending.finish_reason,
            "stop_reason": ending.stop_reason,
            "segments": _segments(asked, len(ids), forced),
        }
    )


def _segments(asked: Record, tokens: int, forced: int) -> list[Segment] | None:
    """The segments of an answer of so many tokens; None for an answer without forced ones."""
    budget = None if asked.reasoning is None else asked.reasoning.budget
    if not forced or budget is None or tokens <= budget:
        return None
    segments = [Segment(kind="sampled", tokens=budget), Segment(kind="forced", tokens=forced)]
    rest = tokens - budget - forced
    return [*segments, Segment(kind="sampled", tokens=rest)] if rest else segments


def recover(log: LogWriter, drafts: Collection[int] | None = None) -> int:
    """Make records of the drafts of another process, which has ended, and return their number.

    Each keeps its request id. Its time is that of the answer's begin, since the end is unknown. The forced tokens of a
    draft are those of the record that it had when they were put in. A draft whose last tokens came with the end of the
    answer, which was on its way at a pace, becomes the record of the whole answer.

    Args:
        log: the writer.
        drafts: numbers of the drafts; those that have become records are left out. None for all in the log.

    Raises:
        LogWriteError: a record cannot be written.
        LogForked: the database lost what the writer confirmed.
        LogCorrupt: the drafts are malformed.
        LogUnreadable: the database cannot be read.
        RecordEncodingError: a draft is no record.
    """
    left = log.drafts(drafts)
    for number, draft in left.items():
        asked = decode_record(draft.payload)
        ids = np.frombuffer(draft.tokens, TOKEN_DTYPE).tolist()
        forced = sum(end - start for start, end in asked.forced())
        whole = asked.finish_reason != "abort" and asked.output_token_ids == ids
        record = encode_record(asked if whole else ended(asked, ids, CUT_OFF, forced))
        log.end_draft(number, record, draft.stamp).result()
    return len(left)


class DraftLog(Protocol):
    """A log for drafts, in this process or behind a link (`LogWriter`)."""

    def draft(self, payload: bytes, stamp: RequestStamp | None = None) -> Draft:
        """A new draft."""

    async def reserve_seeds(self, number: int) -> int:
        """The first of so many seed counters."""


class DraftRecorder:
    """Keeper of drafts, which makes records of them. It repeats failed writes until the log can be written.

    Used within one event loop.
    """

    def __init__(self, log: DraftLog, metrics: Metrics, events: Events, clock: Callable[[], float] = time.time) -> None:
        self._log, self._metrics, self._clock = log, metrics, clock
        self._trouble = Trouble("log", events)
        metrics.log_writable.set_function(lambda: float(not self.failing))
        self._unwritten: list[tuple[Draft, bytes, int, Ending]] = []
        self._ends: set[asyncio.Task[int | None]] = set()

    def draft(self, asked: Record, request_id: str) -> Draft:
        """A draft of an answer without tokens.

        Raises:
            RecordEncodingError: the record would be too large.
        """
        return self._log.draft(encode_record(asked), RequestStamp(request_id, self._now()))

    def _now(self) -> int:
        """Unix time, milliseconds."""
        return int(self._clock() * 1000)

    @property
    def failing(self) -> bool:
        """True if the last attempt to write the log failed."""
        return self.cause is not None

    @property
    def cause(self) -> str | None:
        """The cause of the last failure, in fixed words; None if the last attempt to write the log succeeded."""
        return self._trouble.cause

    async def extend(self, draft: Draft, tokens: bytes, so_far: Record | None = None) -> None:
        """Add tokens to a draft, and wait until they are durable.

        Args:
            draft: the draft.
            tokens: the tokens (int32, little-endian).
            so_far: the record of the answer up to these tokens, where they are forced (`recover`).

        Raises:
            LogWriteError: the tokens cannot be written.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
        """
        with self.noticed():
            await draft.extend(tokens, None if so_far is None else encode_record(so_far))

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """A write to the log. A failure is reported, and counted."""
        try:
            yield
        except LOG_FAILURES as error:
            self._trouble.begin(error)
            self._metrics.log_failures.inc()
            raise

    async def end(self, draft: Draft, record: Record) -> int | None:
        """Make a draft a record, and wait until it is durable. Cancellation does not stop the write.

        Returns:
            The record's index, or None if an earlier call had made the record.

        Raises:
            LogWriteError: the record is not written yet; `retry` repeats the write.
            LogForked: the same, since the database lost what the writer confirmed.
            LogClosed: the same, since the writer was closed.
        """
        ending = Ending(record.finish_reason, record.stop_reason)
        task = asyncio.ensure_future(self._end(draft, encode_record(record), ending))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        return await asyncio.shield(task)

    async def _end(self, draft: Draft, payload: bytes, ending: Ending) -> int | None:
        now = self._now()
        try:
            with self.noticed():
                index = await draft.end(payload, now)
        except LOG_FAILURES:
            self._unwritten.append((draft, payload, now, ending))
            raise
        self._ended(ending)
        return index

    def _ended(self, ending: Ending) -> None:
        by = str(ending.stop_reason) if ending.finish_reason == "abort" else ending.finish_reason
        self._metrics.answers.labels(by).inc()

    async def retry(self) -> None:
        """Write failed records again while the log cannot be written. Never returns."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                if self.failing:
                    await self._log.reserve_seeds(1)
                while self._unwritten:
                    draft, payload, ended_at, ending = self._unwritten[0]
                    await draft.end(payload, ended_at)
                    self._unwritten.pop(0)
                    self._ended(ending)
            except LOG_FAILURES as error:
                self._trouble.begin(error)
            else:
                self._trouble.end()

    async def settle(self) -> None:
        """Wait until every end under way is written or has failed. Failed ones are left to `recover`."""
        with suppress(WeightwardenError):
            await asyncio.gather(*self._ends, return_exceptions=True)
