"""Seeds as a worker has them: the main process issues them, so that a retry finds its seed whichever worker it asks."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from weightwarden.logger.sidecar.log.seeds import Issued, seed_of
from weightwarden.logger.sidecar.workers.link import Kind, Link
from weightwarden.logger.sidecar.workers.told_failures import failure
from weightwarden.logger.store.changes import OpenSeed


@dataclass(frozen=True)
class IssuedThere(Issued):
    """Seeds that the main process issued.

    Attributes:
        number: number of the request for them.
    """

    number: int = -1


class WorkerSeeds:
    """Seeds of a worker. It has the guarantees of the issuer in the main process (`SeedIssuer`).

    Used within one event loop.
    """

    def __init__(self, link: Link, key: bytes, origin: str, nonces: Mapping[int, bytes]) -> None:
        """The seeds behind a link.

        Args:
            link: the link to the main process.
            key: the seed key.
            origin: the log's name.
            nonces: nonce of every start, by its number.
        """
        self._link, self._key, self._origin, self._nonces = link, key, origin, nonces
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._recordings: dict[int, asyncio.Future[None]] = {}

    async def issue(self, requests: Sequence[bytes]) -> Issued:
        """The counters of a request's prompts (`SeedIssuer.issue`)."""
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[dict[str, Any]] = loop.create_future()
        recording: asyncio.Future[None] = loop.create_future()
        recording.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may not be awaited
        self._asked[number], self._recordings[number] = asked, recording
        self._link.tell(Kind.ISSUE, number=number, requests=[one.hex() for one in requests])
        try:
            message = await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(lambda _: self._release(number, complete=False))
            raise
        seeds = [
            OpenSeed(start, counter, request, issued_at)
            for (start, counter, issued_at), request in zip(message["seeds"], requests, strict=True)
        ]
        fresh = [seeds[at] for at in message["fresh"]]
        return IssuedThere(seeds, fresh, recording if fresh else None, number)

    def end(self, issued: Issued, *, complete: bool) -> None:
        """Forget the seeds of a request that completed, or keep those of another one for its retry."""
        if isinstance(issued, IssuedThere):
            self._release(issued.number, complete=complete)

    def seed(self, issued: OpenSeed, choices: int = 1) -> int:
        """The seed of a counter (`seed_of`)."""
        return seed_of(self._key, self._origin, self._nonces[issued.start], issued.counter, choices)

    def issued(self, content: memoryview) -> None:
        """Take the seeds that were issued, or the failure."""
        message = json.loads(bytes(content))
        asked = self._asked.pop(message["number"])
        if "kind" in message:
            self._recordings.pop(message["number"])
            asked.set_exception(failure(message))
        else:
            if not message["fresh"]:
                self._recordings.pop(message["number"])
            asked.set_result(message)

    def recorded(self, content: memoryview) -> None:
        """Take that fresh seeds are durable, or the failure."""
        message = json.loads(bytes(content))
        recording = self._recordings.pop(message["number"])
        if "kind" in message:
            recording.set_exception(failure(message))
        else:
            recording.set_result(None)

    def _release(self, number: int, *, complete: bool) -> None:
        self._link.tell(Kind.RELEASE, number=number, complete=complete)

    def __repr__(self) -> str:
        return f"<WorkerSeeds of {self._origin}>"
