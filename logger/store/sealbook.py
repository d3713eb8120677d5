"""Signed checkpoints and sealed archives of a log, as its database records them."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, insert, select

from weightwarden.logger.database import shown
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogCorrupt, LogUnreadable
from weightwarden.logger.store.lock import LogLock
from weightwarden.logger.store.schema import ARCHIVE, CHECKPOINT
from weightwarden.logger.store.turn import write_turn


class SealBook:
    """Records checkpoints and archives of a log, beside its writer; one process at a time (`LogLocked`).

    What it recorded is durable on return, and never changes.
    """

    def __init__(self, url: str) -> None:
        """Open it.

        Raises:
            LogLocked: another process seals this log. LogUnreadable: there is none.
        """
        self._url = LOG_DATABASE.parse_url(url)
        self._lock = LogLock(self._url, "seal")
        engine = LOG_DATABASE.make_engine(self._url)
        with LOG_DATABASE.failures_named(self._url):
            self._connection = engine.connect().execution_options(writes=True)
            try:
                self._lock.acquire(self._connection)
                with self._connection.begin():
                    LOG_DATABASE.require_current(self._connection, self._url)
            except BaseException:
                self.close()
                raise

    def add_checkpoint(self, size: int, note: bytes) -> None:
        """Record a signed checkpoint, before anybody else sees it.

        Raises:
            LogCorrupt: one of this size or beyond is there. LogUnreadable: it cannot be written.
        """
        with self._recording():
            last = self._connection.execute(select(func.max(CHECKPOINT.c.size))).scalar() or 0
            if size <= last:
                raise LogCorrupt(f"{shown(self._url)}: a checkpoint of {size} entries after one of {last}")
            self._connection.execute(insert(CHECKPOINT), {"size": size, "note": note})

    def add_archive(self, start: int, end: int, url: str) -> None:
        """Record that a range was sealed.

        Raises:
            LogCorrupt: it does not follow on the last one. LogUnreadable: it cannot be written.
        """
        with self._recording():
            last = self._connection.execute(select(func.max(ARCHIVE.c.end))).scalar() or 0
            if start != last or end <= start:
                raise LogCorrupt(
                    f"{shown(self._url)}: an archive of entries {start} to {end} after one that ends at {last}"
                )
            self._connection.execute(insert(ARCHIVE), {"start": start, "end": end, "url": url})

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """One transaction under the lock: SQLAlchemy would connect anew on its own, but without it."""
        if self._connection.invalidated:
            raise LogUnreadable(f"{shown(self._url)}: the connection was lost, and the lock with it: open it again")
        with LOG_DATABASE.failures_named(self._url), write_turn(self._url), self._connection.begin():
            yield

    def close(self) -> None:
        """Give it back."""
        self._connection.close()
        self._lock.release()

    def __enter__(self) -> "SealBook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
