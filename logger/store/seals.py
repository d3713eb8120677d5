"""Book of a log's signed checkpoints and sealed archives, in its database."""

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
    """Recorder of checkpoints and archives, beside the log's writer. One process at a time holds it (`LogLocked`).

    Rows are durable on return, and never change.
    """

    def __init__(self, url: str) -> None:
        """The open book of a log.

        Raises:
            LogLocked: another process seals this log.
            LogUnreadable: there is no log.
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
        """Record a signed checkpoint before it is published.

        Raises:
            LogCorrupt: a checkpoint of its size or a larger size exists.
            LogUnreadable: the database cannot be written.
        """
        with self._recording():
            last = self._connection.execute(select(func.max(CHECKPOINT.c.size))).scalar() or 0
            if size <= last:
                raise LogCorrupt(f"{shown(self._url)}: a checkpoint of {size} entries after one of {last}")
            self._connection.execute(insert(CHECKPOINT), {"size": size, "note": note})

    def add_archive(self, start: int, end: int, url: str) -> None:
        """Record that a range was sealed.

        Raises:
            LogCorrupt: the range does not follow the last one.
            LogUnreadable: the database cannot be written.
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
        """One transaction under the lock. After a disconnect, SQLAlchemy would reconnect without the lock."""
        if self._connection.invalidated:
            raise LogUnreadable(f"{shown(self._url)}: the connection was lost, and the lock with it: open it again")
        with LOG_DATABASE.failures_named(self._url), write_turn(self._url), self._connection.begin():
            yield

    def close(self) -> None:
        """Release the lock and close the connection."""
        self._connection.close()
        self._lock.release()

    def __enter__(self) -> "SealBook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
