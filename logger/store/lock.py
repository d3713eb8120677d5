"""One process at a time: a lock that a crash releases."""

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
"""Keys of PostgreSQL's advisory locks, which are a database's own."""
_LEAVING_SECONDS = 2.0
"""In which a PostgreSQL server gives back the lock of a session whose connection was closed or lost just before."""
_POLL_SECONDS = 0.02


class LogLock:
    """The right to append to a log, or to seal it, held by one process.

    In SQLite a lock on a file beside the database; in PostgreSQL an advisory lock of the session whose connection
    does the writing, so that who lost the one lost the other.
    """

    def __init__(self, url: URL, purpose: Purpose) -> None:
        self._url, self._purpose = url, purpose
        self._handle: int | None = None

    def acquire(self, connection: Connection) -> None:
        """Take the lock for a connection.

        Raises:
            LogLocked: another has it.
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
        """Whether an advisory lock could be taken."""
        with connection.begin():
            held = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one()
        return bool(held)

    def release(self) -> None:
        """Give the lock of a file back; PostgreSQL's goes with its connection."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _locked(self) -> LogLocked:
        doing = "appends to" if self._purpose == "append" else "seals"
        return LogLocked(f"{shown(self._url)}: another process {doing} this log")
