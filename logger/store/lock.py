"""Lock for one process at a time, which a crash releases."""

import fcntl
import os
import time
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, text

from weightwarden.logger.database import shown
from weightwarden.logger.store.errors import LogLocked

Purpose = Literal["append", "seal"]
_ADVISORY = {"append": 0x77_77_6C_6F_67_01, "seal": 0x77_77_6C_6F_67_02}
"""Keys of PostgreSQL's advisory locks. Each database has separate ones."""
_LEAVING_SECONDS = 2.0
"""Seconds within which a PostgreSQL server frees the lock of a connection that was closed or lost."""
_POLL_SECONDS = 0.02
_POOLED = "; if there is none, a connection pooler keeps the session of one that is gone: restart the pooler"


class LogLock:
    """The right of one process to append to a log, or to seal it.

    In SQLite it is a lock on a file beside the database. In PostgreSQL it is an advisory lock of the session that
    writes: a process that loses the connection loses the lock with it.
    """

    def __init__(self, url: URL, purpose: Purpose) -> None:
        self._url, self._purpose = url, purpose
        self._handle: int | None = None

    def acquire(self, connection: Connection) -> None:
        """Take the lock for a connection.

        Raises:
            LogLocked: another process holds it.
        """
        if connection.dialect.name == "postgresql":
            key = _ADVISORY[self._purpose]
            deadline = time.monotonic() + _LEAVING_SECONDS
            while not self._taken(connection, key):
                if time.monotonic() > deadline:
                    raise self._locked()
                time.sleep(_POLL_SECONDS)
        elif self._handle is None:
            path = Path(f"{Path(str(self._url.database)).resolve()}.{self._purpose}.lock")
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                raise self._locked() from None
            self._handle = handle

    @staticmethod
    def _taken(connection: Connection, key: int) -> bool:
        """True if the advisory lock was taken."""
        with connection.begin():
            held = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one()
        return bool(held)

    def release(self) -> None:
        """Release the lock of a file. PostgreSQL's ends with its connection."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _locked(self) -> LogLocked:
        doing = "appends to" if self._purpose == "append" else "seals"
        pooled = "" if self._url.drivername == "sqlite" else _POOLED
        return LogLocked(f"{shown(self._url)}: another process {doing} this log{pooled}")
