"""Book of a log's signed checkpoints, sealed archives and segments, in its database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete, func, insert, select

from weightwarden.logger.database import shown
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogCorrupt, LogUnreadable
from weightwarden.logger.store.lock import LogLock
from weightwarden.logger.store.schema import ARCHIVE, CHECKPOINT, COSIGNATURE, ENTRY, MARK, REQUEST, SEGMENT
from weightwarden.logger.store.tree import segment_start
from weightwarden.logger.store.turn import write_turn
from weightwarden.logger.tlog.merkle import Frontier

REMOVED_AT_ONCE = 1000
"""Records that one transaction removes: few, so that the log's writer waits little."""
RECLAIMED_AT_ONCE = 2000
"""Free pages of a SQLite file that one transaction gives back (8 MB)."""


class SealBook:
    """Recorder of checkpoints, archives and segments, beside the log's writer.

    One process at a time holds it (`LogLocked`). Rows are durable on return, and never change.
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

    def begin_segment(self, tree: Frontier) -> None:
        """Record that a new segment begins after the records of a tree, which are in archives.

        Raises:
            LogCorrupt: no archive ends there, or the present segment begins there or later.
            LogUnreadable: the database cannot be written.
        """
        with self._recording():
            present = segment_start(self._connection).size
            ends = select(ARCHIVE.c.end).where(ARCHIVE.c.end == tree.size)
            if tree.size <= present or self._connection.execute(ends).first() is None:
                raise LogCorrupt(
                    f"{shown(self._url)}: no segment begins at entry {tree.size}: no archive ends there, or the present"
                    f" segment begins at entry {present}"
                )
            self._connection.execute(insert(SEGMENT), {"start": tree.size, "frontier": b"".join(tree.hashes)})

    def remove_archived(self, limit: int = REMOVED_AT_ONCE) -> int:
        """Number of records that were removed from before the present segment: at most `limit`, 0 when none is left.

        Their stamps go with them (archives have companions). With the last records go the stored frontiers and the
        checkpoints from before the segment, except the checkpoints of archives, and the cosignatures (archives bear
        theirs).

        Raises:
            LogUnreadable: the database cannot be written.
        """
        with self._recording():
            start = segment_start(self._connection).size
            first = self._connection.execute(select(func.min(ENTRY.c.index))).scalar()
            if start and first is not None and first < start:
                end = min(start, first + limit)
                self._connection.execute(delete(REQUEST).where(REQUEST.c.index < end))
                self._connection.execute(delete(ENTRY).where(ENTRY.c.index < end))
                return int(end - first)
            self._connection.execute(delete(MARK).where(MARK.c.size < start))
            self._connection.execute(delete(COSIGNATURE).where(COSIGNATURE.c.size < start))
            self._connection.execute(
                delete(CHECKPOINT).where(CHECKPOINT.c.size < start, CHECKPOINT.c.size.not_in(select(ARCHIVE.c.end)))
            )
            return 0

    def reclaim(self, pages: int = RECLAIMED_AT_ONCE) -> bool:
        """True if a part of the free space of a SQLite file was given back to the file system, and more may follow.

        PostgreSQL reclaims space by itself (autovacuum). A SQLite file from before version 0.2 cannot shrink; its
        free space is used again.

        Raises:
            LogUnreadable: the database cannot be written.
        """
        if self._connection.dialect.name != "sqlite":
            return False
        with self._recording():
            before = self._free_pages()
            # driver-level: SQLAlchemy would close a statement without rows after its first step, which frees one page
            cursor = self._connection.connection.cursor()
            cursor.execute(f"PRAGMA incremental_vacuum({pages})")
            cursor.fetchall()
            return 0 < self._free_pages() < before

    def _free_pages(self) -> int:
        return int(self._connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())

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
