"""Seeds that the inference server cannot foresee or choose: HMAC of a counter that never goes back."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

from logger.private_file import KeyFileError, read_private, write_private

MIN_KEY_BYTES = 16
KEY_BYTES = 32
SEEDS = 2_147_483_648
"""Seeds lie in [0, 2^31): non-negative, safe in JSON, distinct on every engine's path (sampling-spec 6.7)."""
BLOCK = 4096
"""Counters that are reserved at once; what is left of a block when the process ends is never used."""
MAX_KEPT = 65_536
_DOMAIN = b"weightwarden seed v1\n"


def read_seed_key(path: Path) -> bytes:
    """The seed key: the file's bytes as they are.

    Raises:
        KeyFileError: unreadable, readable by others, or too short to be secret.
    """
    key = read_private(path)
    if len(key) < MIN_KEY_BYTES:
        raise KeyFileError(f"{path}: a seed key has at least {MIN_KEY_BYTES} bytes, this file has {len(key)}")
    return key


def write_seed_key(path: Path, random_bytes: Callable[[int], bytes]) -> None:
    """Write a fresh seed key to a new file.

    Raises:
        KeyFileError: the file is there already, or cannot be written.
    """
    write_private(path, random_bytes(KEY_BYTES))


def seed_of(key: bytes, origin: str, counter: int, choices: int = 1) -> int:
    """HMAC-SHA256(key, domain || origin || counter), as a seed in [0, 2^31 - choices].

    Args:
        origin: the log's name, so that one key under two logs issues two series. choices: n; choice i is drawn with the
            seed plus i, which must not leave the range either.
    """
    mac = hmac.digest(key, _DOMAIN + origin.encode() + b"\n" + counter.to_bytes(8, "big"), "sha256")
    return int.from_bytes(mac, "big") % (SEEDS - choices + 1)


class SeedIssuer:
    """Issues a fresh counter to every request, but the old one to a request that failed before.

    Otherwise the server could fail a request until the client's next try has a seed that suits it. A request is known
    again by its digest; the counters of failed ones are kept, the last `MAX_KEPT` of them. Where equal requests failed
    side by side, each of their counters is issued again, the first that failed first.

    Used within one event loop.
    """

    def __init__(self, key: bytes, origin: str, reserve: Callable[[int], Awaitable[int]]) -> None:
        """Args: reserve: hands out the first of so many counters that nobody ever gets again (`reserve_seeds`)."""
        self._key, self._origin, self._reserve = key, origin, reserve
        self._next, self._end = 0, 0
        self._failed: OrderedDict[bytes, list[int]] = OrderedDict()
        self._kept = 0
        self._reserving = asyncio.Lock()

    async def counter(self, request: bytes) -> int:
        """The counter of a request that is tried now.

        Args:
            request: a digest of all that decides its answer.

        Raises:
            LogWriteError, LogForked, LogClosed: no counters can be reserved.
        """
        kept = self._failed.get(request)
        if kept:
            counter = kept.pop(0)
            self._kept -= 1
            if not kept:
                del self._failed[request]
            return counter
        async with self._reserving:
            if self._next == self._end:
                self._next = await self._reserve(BLOCK)
                self._end = self._next + BLOCK
            self._next += 1
            return self._next - 1

    def keep(self, request: bytes, counter: int) -> None:
        """Keep the counter of a request that failed, for when it is tried again."""
        self._failed.setdefault(request, []).append(counter)
        self._failed.move_to_end(request)
        self._kept += 1
        if self._kept > MAX_KEPT:
            _, forgotten = self._failed.popitem(last=False)
            self._kept -= len(forgotten)

    def seed(self, counter: int, choices: int = 1) -> int:
        """The seed of a counter (`seed_of`)."""
        return seed_of(self._key, self._origin, counter, choices)

    def __repr__(self) -> str:
        return f"<SeedIssuer of {self._origin}>"
