"""The log as a worker has it: its changes go to the main process, which confirms them once they are durable."""

import asyncio
import json
import struct
from itertools import count
from typing import cast

from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sidecar.workers.change_frames import WorkersChange, encode_change
from weightwarden.logger.sidecar.workers.link import Kind, Link
from weightwarden.logger.sidecar.workers.told_failures import failure
from weightwarden.logger.store.changes import Change, SeedBlock
from weightwarden.logger.store.draft import Draft

MAX_PENDING = 16_384
"""Largest number of changes that wait for their confirmation; more wait for room."""
RESULT = struct.Struct("<Iq")
"""Ticket of a change, and its result."""
NO_RESULT = -1
"""Result of a change that has none: the draft was ended before."""


class WorkerLog:
    """Log of a worker. It has the guarantees of the writer in the main process (`LogWriter`).

    A change is confirmed only after the main process has committed it. All changes of one turn of the event loop leave
    in one frame. Used within one event loop.
    """

    def __init__(self, link: Link) -> None:
        """The log behind a link."""
        self._link = link
        self._drafts, self._tickets = count(), count()
        self._waiting: dict[int, asyncio.Future[int | None]] = {}
        self._unsent: list[bytes] = []
        self._slots = asyncio.Semaphore(MAX_PENDING)

    def draft(self, payload: bytes, stamp: RequestStamp | None = None) -> Draft:
        """A new draft (`LogWriter.draft`)."""
        return Draft(self._durably, next(self._drafts), payload, stamp)

    async def reserve_seeds(self, number: int) -> int:
        """The first of so many seed counters (`LogWriter.reserve_seeds`)."""
        return cast(int, await self._durably(SeedBlock(number)))

    def results(self, content: memoryview) -> None:
        """Take the results of changes."""
        for ticket, result in RESULT.iter_unpack(content):
            future = self._done(ticket)
            if not future.done():
                future.set_result(None if result == NO_RESULT else result)

    def unwritten(self, content: memoryview) -> None:
        """Take the failure of a change."""
        message = json.loads(bytes(content))
        future = self._done(message["ticket"])
        if not future.done():
            future.set_exception(failure(message))

    def _done(self, ticket: int) -> "asyncio.Future[int | None]":
        self._slots.release()  # when the main process is done with it, not when the caller stops waiting
        return self._waiting.pop(ticket)

    async def _durably(self, change: Change) -> int | None:
        """The result of a change, once it is durable."""
        await self._slots.acquire()
        ticket = next(self._tickets) % 2**32
        future = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(encode_change(ticket, cast(WorkersChange, change)))
        return cast("int | None", await future)

    def _send(self) -> None:
        content = b"".join(self._unsent)
        self._unsent.clear()
        self._link.send(Kind.CHANGES, content)
