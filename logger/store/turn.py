"""Turn of one connection to write to a SQLite database, or to copy its write-ahead log back."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sqlalchemy import URL

from weightwarden.logger.database import BUSY_SECONDS

_WAIT_SECONDS = 0.002


@contextmanager
def write_turn(url: URL) -> Iterator[None]:
    """The turn to write, for a transaction and the checkpoint of the write-ahead log that its commit may run.

    SQLite before 3.51.3 (and 3.44.6, 3.50.7) can corrupt a database when two connections write or checkpoint at the
    same moment (sqlite.org/wal.html, "the WAL-reset bug"). Its own locks do not prevent that; this lock on a file
    beside the database does. PostgreSQL needs none.

    Raises:
        TimeoutError: another process kept the turn for `BUSY_SECONDS`.
        OSError: the lock file cannot be made.
    """
    if url.drivername != "sqlite":
        yield
        return
    handle = os.open(_lock_file(str(url.database)), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("another process writes to the database and does not end") from None
                time.sleep(_WAIT_SECONDS)
        yield
    finally:
        os.close(handle)


@lru_cache(maxsize=16)
def _lock_file(database: str) -> str:
    """The lock file beside a database. It is resolved once, since a writer takes its turn for every token."""
    return f"{Path(database).resolve()}.write.lock"
