"""Causes of failed reads and writes, in fixed words, with what an operator can do about each."""

import errno
from collections.abc import Iterator

from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.rollover import RolloverRefused
from weightwarden.logger.sealing import AnotherArchive, NotCosigned
from weightwarden.logger.store.errors import LogCorrupt, LogLocked

ADVICE = {
    "disk full": "free space, or enlarge the file system",
    "disk full or failing": "look at the free space, then at the kernel's log",
    "read-only": "mount the file system for writing, or connect to the primary server",
    "no permission": "give the service's user the right to write there",
    "missing": "put the file or folder back",
    "too many open files": "raise the limit of open files (LimitNOFILE)",
    "no connection": "start the server, repair the network, or look at the login; the connection is tried again",
    "locked": "end the other process that holds the lock",
    "damaged": "keep the file as evidence, and look at the disk",
    "changed": "keep the database and the archives as evidence, and begin a new log",
    "not rolled over": "put the archive back, or roll over once with all public keys (verify log rollover)",
    "not cosigned": "look at the events `witness failed`; records wait until enough witnesses have cosigned them",
    "other": "see why",
}
"""What to do about each cause."""
_BY_ERRNO = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk full",
    errno.EROFS: "read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOENT: "missing",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
    errno.EIO: "damaged",
    errno.ECONNREFUSED: "no connection",
    errno.ECONNRESET: "no connection",
    errno.EPIPE: "no connection",
    errno.ETIMEDOUT: "no connection",
    errno.EHOSTUNREACH: "no connection",
    errno.ENETUNREACH: "no connection",
}
_BY_SQLITE_NAME = (
    ("SQLITE_FULL", "disk full"),
    ("SQLITE_READONLY", "read-only"),
    ("SQLITE_PERM", "no permission"),
    ("SQLITE_CANTOPEN", "missing"),
    ("SQLITE_BUSY", "locked"),
    ("SQLITE_LOCKED", "locked"),
    ("SQLITE_CORRUPT", "damaged"),
    ("SQLITE_NOTADB", "damaged"),
    ("SQLITE_IOERR", "disk full or failing"),
)
"""Causes by the first characters of the name of SQLite's error (https://sqlite.org/rescode.html)."""
_BY_SQLSTATE = (
    ("53100", "disk full"),
    ("25006", "read-only"),
    ("42501", "no permission"),
    ("55P03", "locked"),
    ("28", "no permission"),
    ("08", "no connection"),
    ("57P0", "no connection"),
    ("53", "no connection"),
    ("58030", "disk full or failing"),
    ("XX001", "damaged"),
    ("XX002", "damaged"),
)
"""Causes by the first characters of PostgreSQL's SQLSTATE (its documentation, appendix A)."""
_BY_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (LogLocked, "locked"),
    (NotCosigned, "not cosigned"),
    (LogCorrupt, "changed"),
    (AnotherArchive, "changed"),
    (ArchiveRefused, "damaged"),
    (RolloverRefused, "not rolled over"),
)


class KnownCause(Exception):
    """A failure in another process, which has told its cause.

    Attributes:
        cause: the cause, a key of `ADVICE`.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause if cause in ADVICE else "other"


def cause_of(error: BaseException) -> str:
    """The cause of a failure: a key of `ADVICE`."""
    for one in _chain(error):
        cause = _direct_cause(one)
        if cause is not None:
            return cause
    return "other"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, the errors that it was raised from, and those that a database's library wraps."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__context__, one.__cause__, getattr(one, "orig", None)]


def _direct_cause(error: BaseException) -> str | None:
    """The cause that an error itself names."""
    if isinstance(error, KnownCause):
        return error.cause
    for kind, cause in _BY_CLASS:
        if isinstance(error, kind):
            return cause
    name, state = getattr(error, "sqlite_errorname", None), getattr(error, "sqlstate", None)
    for code, causes in ((name, _BY_SQLITE_NAME), (state, _BY_SQLSTATE)):
        for prefix, cause in causes:
            if isinstance(code, str) and code.startswith(prefix):
                return cause
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    if isinstance(error, (ConnectionError, TimeoutError)):
        return "no connection"
    if type(error).__name__ == "OperationalError" and type(error).__module__.startswith("psycopg"):
        return "no connection"  # without a SQLSTATE: the server gave no answer
    return None
