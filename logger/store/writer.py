"""Writer of a log: durable, ordered appends from many threads and event loops."""

import asyncio
import threading
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from itertools import count
from typing import cast
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import SQLAlchemyError

from weightwarden.errors import WeightwardenError
from weightwarden.logger.database import described, shown
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.store.changes import (
    Change,
    ClosedSeeds,
    Entry,
    NewCosignature,
    NewStart,
    OpenSeed,
    SeedBlock,
    SignedCheckpoint,
    apply,
    size_of,
)
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.draft import Draft, LeftDraft, first_free, left_behind
from weightwarden.logger.store.errors import LogBusy, LogClosed, LogCorrupt, LogForked, LogUnreadable, LogWriteError
from weightwarden.logger.store.lock import LogLock
from weightwarden.logger.store.pending import Pending, resolve
from weightwarden.logger.store.schema import LOG
from weightwarden.logger.store.tree import frontier_at, stored_size
from weightwarden.logger.store.turn import write_turn
from weightwarden.logger.tlog.merkle import Frontier
from weightwarden.text import printable

BATCH_ENTRIES = 4096
BATCH_BYTES = 32 * 2**20
"""Limits of a transaction: so many records (`BATCH_ENTRIES`), or so many bytes and one more record."""
MAX_PENDING = 16_384


class LogWriter:
    """Writer of a log, with these guarantees:

    - *Durability.* An append is confirmed only after its transaction was committed and synced (SQLite: WAL, synchronous
      FULL; PostgreSQL: synchronous_commit on).
    - *Order.* Records have consecutive indices in the order of the calls of `append`; an index never changes.
    - *Concurrency.* `append` and `append_durably` may be called from any thread and event loop. One process at a time
      has a log open for appending (`LogLocked`); any process may read meanwhile.
    - *Failure.* When a transaction fails, its appends fail with `LogWriteError`: their records may or may not be in the
      log, in their order. The next transaction reopens the log and continues after its last record, unless confirmed
      records are missing (`LogForked`, for good).
    - *Drafts.* Tokens of a draft are as durable as records, and separate from them. A draft becomes a record once, even
      if that is requested several times.

    All waiting changes are written in one transaction (group commit).
    """

    def __init__(self, url: str, origin: str, max_pending: int) -> None:
        self._url, self._origin, self._max_pending = LOG_DATABASE.parse_url(url), origin, max_pending
        self._lock = LogLock(self._url, "append")
        self._engine = LOG_DATABASE.make_engine(self._url, create=True)
        self._confirmed = Frontier()
        self._next_seed = 0
        self._connection: Connection | None = None
        self._forked: str | None = None
        self._waiting: deque[Pending] = deque()
        self._drafts = count()
        self._state = threading.Condition()
        self._closing = False
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._waking: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._thread = threading.Thread(target=self._work, name=f"log {shown(self._url)}", daemon=True)

    @classmethod
    def open(cls, url: str, *, origin: str, max_pending: int = MAX_PENDING) -> "LogWriter":
        """The writer of a log. A missing log is made.

        Args:
            url: a path or `sqlite:///path`, or `postgresql://...`.
            origin: the log's name. It must equal the name with which the log was made.
            max_pending: largest number of waiting appends, for each event loop.

        Raises:
            LogLocked: another process appends to the log.
            LogUnreadable: the log cannot be opened, or is another log.
            LogCorrupt: records are missing.
        """
        writer = cls(url, origin, max_pending)
        try:
            connection = writer._connect()
            with LOG_DATABASE.failures_named(writer._url), connection.begin():
                writer._drafts = count(first_free(connection))  # read once: no number is used again
        except BaseException:
            writer._lock.release()
            raise
        writer._thread.start()
        return writer

    @property
    def size(self) -> int:
        """Number of records that are known to be durable."""
        return self._confirmed.size

    @property
    def tree(self) -> Frontier:
        """The tree of the records that are known to be durable, as this writer computed it in memory."""
        return self._confirmed.copy()

    def append(self, payload: bytes, stamp: RequestStamp | None = None) -> "Future[int]":
        """The future of an appended record. It resolves to the record's index once the record is durable.

        The future fails with `LogWriteError` or `LogForked`.

        Raises:
            LogBusy: too many appends wait.
            LogClosed: the writer was closed.
        """
        return cast("Future[int]", self._submitted(Entry(payload, stamp=stamp)))

    async def reserve_seeds(self, number: int) -> int:
        """The first of so many seed counters, which are never handed out again, even after a crash.

        Raises:
            LogClosed: the writer was closed.
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what this writer confirmed.
        """
        return cast(int, await self._durably(SeedBlock(number)))

    def start(self, nonce: bytes) -> int:
        """The number of a new start of the logger, from 1 on, durable on return.

        Raises:
            LogBusy: too many appends wait.
            LogClosed: the writer was closed.
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what this writer confirmed.
        """
        return cast(int, self._submitted(NewStart(nonce)).result())

    async def open_seeds(self, seeds: Sequence[OpenSeed]) -> None:
        """Record seeds of requests that are not complete, and wait until they are durable.

        Raises:
            LogClosed: the writer was closed.
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what this writer confirmed.
        """
        await asyncio.gather(*[await self._queued(seed) for seed in seeds])

    def close_seeds(self, counters: Sequence[int]) -> None:
        """Forget open seeds, without waiting. If the write fails they stay open.

        Raises:
            LogBusy: too many appends wait.
            LogClosed: the writer was closed.
        """
        self._submitted(ClosedSeeds(tuple(counters)))

    def add_checkpoint(self, size: int, note: bytes) -> int:
        """Record a signed checkpoint in the file that is open, and return the size of the newest checkpoint there.

        Raises:
            LogBusy: too many appends wait.
            LogClosed: the writer was closed.
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what this writer confirmed.
        """
        return cast(int, self._submitted(SignedCheckpoint(size, note)).result())

    def add_cosignature(self, size: int, witness: str, line: str) -> bool:
        """Record a cosignature of a recorded checkpoint. True if it is durable now, False if it was not wanted.

        It is not wanted where the checkpoint is not in the file that is open, or has a cosignature of that witness.

        Args:
            size: the checkpoint's size.
            witness: the witness's key, as text.
            line: the signature line.

        Raises:
            LogBusy: too many appends wait.
            LogClosed: the writer was closed.
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what this writer confirmed.
        """
        return bool(self._submitted(NewCosignature(size, witness, line)).result())

    def _submitted(self, change: Change) -> "Future[int | None]":
        future: Future[int | None] = Future()
        future.set_running_or_notify_cancel()  # it can no longer be cancelled
        self._enqueue(Pending(change, future))
        return future

    async def append_durably(self, payload: bytes, stamp: RequestStamp | None = None) -> int:
        """Append a record, and wait until it is durable. While too many appends wait, it first waits for room.

        If it is cancelled while it waits for the confirmation, the record is written all the same.

        Returns:
            The record's index.

        Raises:
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what this writer confirmed.
            LogClosed: the writer was closed.
        """
        return cast(int, await self._durably(Entry(payload, stamp=stamp)))

    def draft(self, payload: bytes, stamp: RequestStamp | None = None) -> Draft:
        """A new draft. Nothing is written before it is first extended.

        Args:
            payload: its record, without tokens.
            stamp: its request, and the time of its begin.
        """
        return Draft(self._durably, self.new_draft(), payload, stamp)

    def new_draft(self) -> int:
        """A number that no draft has."""
        return next(self._drafts)

    def drafts(self, numbers: Collection[int] | None = None) -> dict[int, LeftDraft]:
        """The drafts that another process left, by number.

        Args:
            numbers: their numbers, or None for all in the log.

        Raises:
            LogUnreadable: the database cannot be read.
            LogCorrupt: tokens of a draft are missing.
        """
        with LOG_DATABASE.failures_named(self._url), self._engine.connect() as connection:
            return left_behind(connection, numbers)

    def end_draft(self, draft: int, payload: bytes, stamp: RequestStamp | None = None) -> "Future[int | None]":
        """The future of a draft that is made a record: its index once it is durable, or None for an ended draft."""
        return self._submitted(Entry(payload, draft, stamp))

    def submit(self, changes: Sequence[Change]) -> "list[asyncio.Future[int | None]]":
        """The futures of changes, of this event loop, in their order. The caller bounds how many wait.

        Raises:
            LogClosed: the writer was closed.
        """
        loop = asyncio.get_running_loop()
        waiting = [Pending(change, loop.create_future(), loop) for change in changes]
        with self._state:
            if self._closing:
                raise LogClosed(f"{shown(self._url)}: closed")
            self._waiting.extend(waiting)
        self._wake_later(loop)
        return [cast("asyncio.Future[int | None]", pending.future) for pending in waiting]

    async def _durably(self, change: Change) -> int | None:
        """The result of a change, once it is durable."""
        return await (await self._queued(change))

    async def _queued(self, change: Change) -> "asyncio.Future[int | None]":
        """The future of a change that waits for its transaction. While too many wait, it first waits for room."""
        loop = asyncio.get_running_loop()
        slot = self._slots.get(loop)
        if slot is None:
            slot = self._slots[loop] = asyncio.Semaphore(self._max_pending)
        future: asyncio.Future[int | None] = loop.create_future()
        pending = Pending(change, future, loop, slot)
        await slot.acquire()  # released when the record is written, not when the caller stops waiting
        try:
            self._enqueue(pending, bounded=False, wake=False)
        except LogClosed:
            slot.release()
            raise
        self._wake_later(loop)
        return future

    def _wake_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop not in self._waking:
            self._waking.add(loop)
            loop.call_soon(self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the committing thread, once all tasks of this turn of the loop have added their changes."""
        self._waking.discard(loop)
        with self._state:
            self._state.notify()

    def close(self) -> None:
        """Write the waiting changes, and release the log. May be called twice."""
        with self._state:
            self._closing = True
            self._state.notify_all()
        self._thread.join()
        self._disconnect()
        self._lock.release()

    def __enter__(self) -> "LogWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enqueue(self, pending: Pending, *, bounded: bool = True, wake: bool = True) -> None:
        with self._state:
            if self._closing:
                raise LogClosed(f"{shown(self._url)}: closed")
            if bounded and len(self._waiting) >= self._max_pending:
                raise LogBusy(f"{shown(self._url)}: {len(self._waiting)} appends wait already")
            self._waiting.append(pending)
            if wake:
                self._state.notify()

    def _work(self) -> None:
        """Loop of the committing thread: take all waiting changes, commit them, resolve their futures."""
        while batch := self._next_batch():
            try:
                results = self._commit([pending.change for pending in batch])
            except Exception as error:
                resolve(batch, self._failed(error))
            else:
                resolve(batch, results)

    def _next_batch(self) -> list[Pending]:
        """Waiting changes for one transaction; none once the writer is closed and everything is written."""
        with self._state:
            self._state.wait_for(lambda: self._waiting or self._closing)
            batch: list[Pending] = []
            size = 0
            while self._waiting and len(batch) < BATCH_ENTRIES and size < BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += size_of(batch[-1].change)
            return batch

    def _commit(self, changes: Sequence[Change]) -> list[int | None]:
        """Results of changes, made in one transaction."""
        connection = self._connection or self._connect()
        tree = self._confirmed.copy()
        with write_turn(self._url), connection.begin():
            results = apply(connection, changes, tree)
            seeds = self._seeds_after(changes, results)
        self._confirmed, self._next_seed = tree, seeds
        return results

    def _seeds_after(self, changes: Sequence[Change], results: Sequence[int | None]) -> int:
        """The counter after those that a transaction hands out.

        Raises:
            LogForked: a counter is handed out a second time, since the database is an older copy.
        """
        seeds = self._next_seed
        for change, first in zip(changes, results, strict=True):
            if isinstance(change, SeedBlock) and first is not None:
                if first < seeds:
                    self._forked = f"{shown(self._url)}: seed counters that were handed out are not there"
                    raise LogForked(self._forked)
                seeds = first + change.count
        return seeds

    def _connect(self) -> Connection:
        """A new connection that holds the log's lock. It continues after the last record.

        Raises:
            LogForked: confirmed records are missing.
        """
        if self._forked is not None:
            raise LogForked(self._forked)
        with LOG_DATABASE.failures_named(self._url):
            connection = self._engine.connect().execution_options(writes=True)
            try:
                self._lock.acquire(connection)
                with write_turn(self._url):
                    LOG_DATABASE.migrate(connection, self._url)
                    self._check_origin(connection)
                with connection.begin():
                    size = stored_size(connection)
                    self._require_confirmed(connection, size)
                    self._confirmed = frontier_at(connection, size)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return connection

    def _require_confirmed(self, connection: Connection, size: int) -> None:
        if not self._confirmed.size:
            return
        try:
            there = size >= self._confirmed.size and frontier_at(connection, self._confirmed.size) == self._confirmed
        except LogCorrupt:
            there = False
        if not there:
            self._forked = f"{shown(self._url)}: the {self._confirmed.size} entries that were confirmed are not there"
            raise LogForked(self._forked)

    def _check_origin(self, connection: Connection) -> None:
        with connection.begin():
            origin = connection.execute(select(LOG.c.origin)).scalar()
            if origin is None:
                connection.execute(insert(LOG), {"id": 1, "origin": self._origin})
            elif origin != self._origin:
                raise LogUnreadable(f"{shown(self._url)}: the log of {printable(str(origin))}, not of {self._origin}")

    def _failed(self, error: Exception) -> WeightwardenError:
        """The error for failed appends, after the connection is dropped."""
        self._disconnect()
        if isinstance(error, LogForked):
            return error
        failure = LogWriteError(
            f"{shown(self._url)}: not written: {described(error)}; the entries may or may not be in the log"
        )
        failure.__cause__ = error
        return failure

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except SQLAlchemyError:
                pass  # the connection is closed already
