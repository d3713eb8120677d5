"""The log's side of a link: it writes the changes of one worker, and ends what a worker leaves that was killed."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from weightwarden.logger.sidecar.log.recorder import recover
from weightwarden.logger.sidecar.log.seeds import Issued, SeedIssuer
from weightwarden.logger.sidecar.workers.change_frames import decode_changes
from weightwarden.logger.sidecar.workers.link import Kind, Link
from weightwarden.logger.sidecar.workers.told_failures import told
from weightwarden.logger.sidecar.workers.worker_log import NO_RESULT, RESULT
from weightwarden.logger.store.changes import Change, DraftTokens, Entry
from weightwarden.logger.store.writer import LogWriter


class LogServer:
    """The log for one worker, which numbers its drafts and its requests for seeds itself.

    Used within one event loop.
    """

    def __init__(self, log: LogWriter, issuer: SeedIssuer) -> None:
        """The log for a worker that has written nothing.

        Args:
            log: the writer.
            issuer: issuer of the seeds of all workers.
        """
        self._log, self._issuer = log, issuer
        self.link: Link | None = None
        self._drafts: dict[int, int] = {}
        self._issued: dict[int, Issued] = {}
        self._results: list[tuple[int, int]] = []
        self._failed: dict[int, BaseException] = {}
        self._open: set[asyncio.Future[Any]] = set()

    def taken(self, kind: Kind, content: memoryview) -> bool:
        """Take a frame of the worker. False: it is not for the log."""
        if kind is Kind.CHANGES:
            changes = list(decode_changes(content))
            futures = self._log.submit([self._numbered(change) for _, change in changes])
            for (ticket, change), future in zip(changes, futures, strict=True):
                self._open.add(future)
                future.add_done_callback(partial(self._done, ticket, change))
        elif kind is Kind.ISSUE:
            message = json.loads(bytes(content))
            task = asyncio.ensure_future(self._issue(message["number"], message["requests"]))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        elif kind is Kind.RELEASE:
            message = json.loads(bytes(content))
            issued = self._issued.pop(message["number"], None)
            if issued is not None:
                self._issuer.end(issued, complete=message["complete"])
        else:
            return False
        return True

    def _numbered(self, change: Change) -> Change:
        """A change of the worker with the number of its draft in the log."""
        if isinstance(change, DraftTokens):
            return change._replace(draft=self._number(change.draft))
        if isinstance(change, Entry) and change.draft is not None:
            return Entry(change.payload, self._number(change.draft), change.stamp)
        return change

    def _number(self, draft: int) -> int:
        number = self._drafts.get(draft)
        if number is None:
            number = self._drafts[draft] = self._log.new_draft()
        return number

    def _done(self, ticket: int, change: Change, future: "asyncio.Future[int | None]") -> None:
        self._open.discard(future)
        if not self._results and not self._failed:
            asyncio.get_running_loop().call_soon(self._tell)
        error = future.exception()
        if error is not None:
            self._failed[ticket] = error
            return
        result = future.result()
        self._results.append((ticket, NO_RESULT if result is None else result))
        if isinstance(change, Entry) and change.draft is not None:
            self._drafts.pop(change.draft, None)

    def _tell(self) -> None:
        """Tell the worker the results of this turn of the event loop."""
        results, failed = self._results, self._failed
        self._results, self._failed = [], {}
        if self.link is None:
            return
        if results:
            self.link.send(Kind.RESULTS, b"".join(RESULT.pack(*one) for one in results))
        for ticket, error in failed.items():
            self.link.tell(Kind.UNWRITTEN, ticket=ticket, **told(error))

    async def _issue(self, number: int, requests: Sequence[str]) -> None:
        try:
            issued = await self._issuer.issue([bytes.fromhex(one) for one in requests])
        except Exception as error:  # whatever it was, the worker's request must not wait for ever
            self._say(Kind.ISSUED, number=number, **told(error))
            return
        self._issued[number] = issued
        self._say(
            Kind.ISSUED,
            number=number,
            seeds=[(one.start, one.counter, one.issued_at) for one in issued.seeds],
            fresh=[at for at, one in enumerate(issued.seeds) if one in issued.fresh],
        )
        if issued.recording is not None:
            try:
                await issued.recorded()
            except Exception as error:
                self._say(Kind.RECORDED, number=number, **told(error))
            else:
                self._say(Kind.RECORDED, number=number)

    def _say(self, kind: Kind, /, **message: Any) -> None:
        if self.link is not None:
            self.link.tell(kind, **message)

    async def settle(self) -> None:
        """Wait until every change under way is written or has failed, and keep the seeds of requests under way."""
        self.link = None
        while self._open:
            await asyncio.gather(*self._open, return_exceptions=True)
        for issued in self._issued.values():
            self._issuer.end(issued, complete=False)
        self._issued.clear()

    async def recover(self) -> int:
        """Make records of the drafts that the worker left, and return their number. It can be repeated.

        Raises:
            LogWriteError: a record cannot be written.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
            LogCorrupt: the drafts are malformed.
            LogUnreadable: the database cannot be read.
        """
        left = frozenset(self._drafts.values())
        ended = await asyncio.to_thread(recover, self._log, left) if left else 0
        self._drafts.clear()
        return ended
