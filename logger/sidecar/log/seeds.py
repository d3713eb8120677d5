"""Seeds that the inference server can neither predict nor choose: HMAC of a start's nonce and a counter."""

import asyncio
import hmac
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from weightwarden.logger.files.private import KeyFileError, read_private, write_private
from weightwarden.logger.store.changes import OpenSeed

MIN_KEY_BYTES = 16
KEY_BYTES = 32
SEEDS = 2_147_483_648
"""Number of seeds. They lie in [0, 2^31): non-negative, exact in JSON, distinct for every engine (docs/sampling.md,
section 6.7).
"""
BLOCK = 4096
"""Counters that are reserved at once. The rest of a block is never used once the process ends."""
MAX_KEPT = 65_536
MAX_KEPT_SECONDS = 7 * 86_400
"""Limits of the seeds that are kept for retries of failed requests: their number (`MAX_KEPT`) and their age."""
_DOMAIN = b"weightwarden seed v2\n"


def read_seed_key(path: Path) -> bytes:
    """The seed key: all bytes of the file.

    Raises:
        KeyFileError: the file is unreadable, readable by others, or too short for a secret.
    """
    key = read_private(path)
    if len(key) < MIN_KEY_BYTES:
        raise KeyFileError(f"{path}: a seed key has at least {MIN_KEY_BYTES} bytes, this file has {len(key)}")
    return key


def write_seed_key(path: Path, random_bytes: Callable[[int], bytes]) -> None:
    """Write a new seed key to a new file.

    Raises:
        KeyFileError: the file exists, or cannot be written.
    """
    write_private(path, random_bytes(KEY_BYTES))


def seed_of(key: bytes, origin: str, nonce: bytes, counter: int, choices: int = 1) -> int:
    """The seed of a counter, in [0, 2^31 - choices].

    HMAC-SHA256(key, domain || origin || newline || nonce || counter), modulo 2^31 - choices + 1.

    Args:
        key: the seed key.
        origin: the log's name, so that one key in two logs issues two series.
        nonce: random bytes of the start under which the counter was issued. They are in the log's database, in the
            table `start`. A restored database hands out old counters again; the nonce makes their seeds differ.
        counter: the counter.
        choices: number n of choices. Choice i is drawn with the seed plus i, which must stay in the range too.
    """
    message = _DOMAIN + origin.encode() + b"\n" + nonce + counter.to_bytes(8, "big")
    return int.from_bytes(hmac.digest(key, message, "sha256"), "big") % (SEEDS - choices + 1)


class SeedStore(Protocol):
    """Store of counters and open seeds (`LogSeeds`)."""

    async def reserve_seeds(self, number: int) -> int:
        """The first of so many counters, which are never handed out again."""

    async def open_seeds(self, seeds: Sequence[OpenSeed]) -> None:
        """Record seeds of requests that are not complete, and wait until they are durable."""

    def close_seeds(self, counters: Sequence[int]) -> None:
        """Forget open seeds."""


@dataclass(frozen=True)
class Issued:
    """The seeds of one request, one a prompt.

    Attributes:
        seeds: the seeds.
        fresh: those among them that no earlier request had.
        recording: the recording of the fresh ones. No server may be asked before it is done.
    """

    seeds: Sequence[OpenSeed] = ()
    fresh: Sequence[OpenSeed] = ()
    recording: "asyncio.Future[None] | None" = None

    async def recorded(self) -> None:
        """Wait until the seeds are durable.

        Raises:
            LogWriteError: they cannot be written.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
        """
        if self.recording is not None:
            await asyncio.shield(self.recording)

    @property
    def failed(self) -> bool:
        """True unless the fresh seeds are known to be durable."""
        recording = self.recording
        if recording is None:
            return False
        return not recording.done() or recording.cancelled() or recording.exception() is not None


class Seeds(Protocol):
    """Seeds of requests, from an issuer in this process or behind a link (`SeedIssuer`)."""

    async def issue(self, requests: Sequence[bytes]) -> Issued:
        """The counters of a request's prompts."""

    def end(self, issued: Issued, *, complete: bool) -> None:
        """Forget the seeds of a request that completed, or keep those of another one for its retry."""

    def seed(self, issued: OpenSeed, choices: int = 1) -> int:
        """The seed of a counter."""


class SeedIssuer:
    """Issuer of seeds: a fresh counter for every request, the old counter for a retry of a failed one.

    With fresh seeds for retries, the server could fail a request until its seed suits the server. A retry is recognized
    by its digest. A seed is open from its issue until its request completes. Open seeds are in the log's database, with
    the start under which they were issued, so that they survive a restart. At most `MAX_KEPT` seeds of failed requests
    are kept, for at most `MAX_KEPT_SECONDS`. If equal requests failed side by side, each of their counters is issued
    again, in the order of the failures.

    Used within one event loop.
    """

    def __init__(
        self,
        key: bytes,
        origin: str,
        store: SeedStore,
        nonces: dict[int, bytes],
        *,
        start: int,
        left_open: Sequence[OpenSeed] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """An issuer that keeps the seeds left open by earlier starts.

        Args:
            key: the seed key.
            origin: the log's name.
            store: store of counters and open seeds.
            nonces: nonce of every start, by its number.
            start: number of this start.
            left_open: seeds whose requests had not completed when an earlier start ended.
            clock: Unix time, seconds.
        """
        self._key, self._origin, self._store, self._nonces, self._start = key, origin, store, nonces, start
        self._clock = clock
        self._next, self._end = 0, 0
        self._failed: OrderedDict[bytes, deque[OpenSeed]] = OrderedDict()
        self._kept = 0
        self._reserving = asyncio.Lock()
        for seed in left_open:
            self.keep(seed)

    async def issue(self, requests: Sequence[bytes]) -> Issued:
        """The counters of a request's prompts, each with the start under which it was issued.

        Fresh ones are being recorded on return, so that the log can write them together with the request's drafts.

        Args:
            requests: a digest for each prompt, of everything that decides its draw (`draw_digest`).

        Raises:
            LogWriteError: counters cannot be reserved.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
        """
        kept = [self._taken(request) for request in requests]
        try:
            seeds = [
                seed or OpenSeed(self._start, await self._fresh(), request, int(self._clock()))
                for seed, request in zip(kept, requests, strict=True)
            ]
        except BaseException:
            for seed in kept:
                if seed is not None:
                    self.keep(seed)
            raise
        fresh = [one for one, seed in zip(seeds, kept, strict=True) if seed is None]
        if not fresh:
            return Issued(seeds)
        recording = asyncio.ensure_future(self._store.open_seeds(fresh))
        recording.add_done_callback(lambda done: done.cancelled() or done.exception())  # `recorded` may not be awaited
        return Issued(seeds, fresh, recording)

    def end(self, issued: Issued, *, complete: bool) -> None:
        """Forget the seeds of a request that completed, or keep those of another one for its retry.

        Fresh seeds that may not be durable are not kept: the server was not asked with them.
        """
        if complete:
            self.complete(issued.seeds)
            return
        unused = {seed.counter for seed in issued.fresh} if issued.failed else frozenset()
        for seed in issued.seeds:
            if seed.counter not in unused:
                self.keep(seed)

    def _taken(self, request: bytes) -> OpenSeed | None:
        """The oldest seed that is kept for a request, removed from the kept ones."""
        self._forget_old()
        kept = self._failed.get(request)
        if kept is None:
            return None
        seed = kept.popleft()
        self._kept -= 1
        if not kept:
            del self._failed[request]
        return seed

    async def _fresh(self) -> int:
        async with self._reserving:
            if self._next == self._end:
                self._next = await self._store.reserve_seeds(BLOCK)
                self._end = self._next + BLOCK
            self._next += 1
            return self._next - 1

    def keep(self, seed: OpenSeed) -> None:
        """Keep the seed of a failed request for its retry."""
        self._failed.setdefault(seed.request, deque()).append(seed)
        self._failed.move_to_end(seed.request)
        self._kept += 1
        self._forget_old()

    def complete(self, seeds: Sequence[OpenSeed]) -> None:
        """Forget seeds whose request has completed."""
        if seeds:
            self._store.close_seeds([seed.counter for seed in seeds])

    def _forget_old(self) -> None:
        """Forget surplus and expired seeds, the oldest failure first."""
        oldest = self._clock() - MAX_KEPT_SECONDS
        while self._failed:
            request, seeds = next(iter(self._failed.items()))
            if self._kept <= MAX_KEPT and seeds[0].issued_at >= oldest:
                return
            seed = seeds.popleft()
            self._kept -= 1
            if not seeds:
                del self._failed[request]
            self._store.close_seeds([seed.counter])

    def seed(self, issued: OpenSeed, choices: int = 1) -> int:
        """The seed of a counter (`seed_of`)."""
        return seed_of(self._key, self._origin, self._nonces[issued.start], issued.counter, choices)

    def __repr__(self) -> str:
        return f"<SeedIssuer of {self._origin}>"
