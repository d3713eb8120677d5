"""Opening a log's database: SQLite by path, PostgreSQL by URL; made and migrated by those who may write."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from logger.store.errors import LogUnreadable
from sampler.errors import first_line, printable

BUSY_SECONDS = 30
_MIGRATIONS = Path(__file__).parent / "migrations"
_NO_ROOM = ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHMSIZE")
_MIGRATING = threading.Lock()
"""Alembic hands a migration its connection by global names: one at a time in a process."""


def parse_url(text: str) -> URL:
    """The database that a path, `sqlite:///path` or `postgresql://...` names.

    Raises:
        LogUnreadable: none that a log can be in.
    """
    try:
        url = make_url(text) if "://" in text else _of_file(text)
    except (SQLAlchemyError, ValueError):
        raise LogUnreadable("the log's URL is malformed (not repeated here: it may hold a password)") from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise LogUnreadable(f"{shown(url)}: a log is in SQLite (a path) or PostgreSQL (postgresql://...)")
    if url.drivername == "sqlite" and (
        not url.database or url.database == ":memory:" or "\0" in url.database or url != _of_file(url.database)
    ):
        raise LogUnreadable(f"{shown(url)}: a log in SQLite needs the path of a file, and nothing else")
    return url


def _of_file(path: str) -> URL:
    return URL.create("sqlite", database=path)


def shown(url: URL) -> str:
    """A URL for messages, without its password, and without its options: they may hold one too."""
    if url.drivername == "sqlite":
        return printable(url.database or "")
    return printable(url.set(query={}).render_as_string(hide_password=True))


@contextmanager
def failures_named(url: URL) -> Iterator[None]:
    """Turns what a database says when it cannot be used into `LogUnreadable`."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        if isinstance(error, LogUnreadable):
            raise
        raise LogUnreadable(f"{shown(url)}: {described(error)}") from error


def described(error: Exception) -> str:
    """What a database or the system said, as one line; SQLite says little of a file that may not grow."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorname", "")
    hint = " (perhaps the disk is full)" if code in _NO_ROOM else ""
    return printable(first_line(original)) + hint


def make_engine(url: URL, *, create: bool = False, writes: bool = True) -> Engine:
    """An engine whose every connection is durable and new.

    Args:
        create: whether a SQLite file that is not there is made, readable by its owner alone.
        writes: whether its connections may change anything.

    Raises:
        LogUnreadable: the file is missing, or PostgreSQL's driver is.
    """
    if url.drivername == "sqlite":
        path = Path(str(url.database))
        if create:
            with failures_named(url):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        elif not path.is_file():
            raise LogUnreadable(f"{shown(url)}: there is no log here")
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _sqlite_connected)
        event.listen(engine, "connect", _sqlite_durable if writes else _sqlite_read_only)
        event.listen(engine, "begin", _sqlite_begun)
        return engine
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": BUSY_SECONDS})
    except (ModuleNotFoundError, NoSuchModuleError):
        raise LogUnreadable("psycopg is missing: pip install 'weightwarden[postgresql]'") from None
    event.listen(engine, "connect", _postgresql_durable if writes else _postgresql_read_only)
    return engine


def migrate(connection: Connection, url: URL) -> None:
    """Make or bring up to date the tables of a log.

    Raises:
        LogUnreadable: they are of a version that is not known here.
    """
    config, known = _migrations()
    with connection.begin():
        at = MigrationContext.configure(connection).get_current_revision()
    if at is not None and at not in known:
        version = printable(str(at))
        raise LogUnreadable(f"{shown(url)}: version {version} of the log's tables is not known here: upgrade")
    if at != known[0]:
        config.attributes["connection"] = connection
        with _MIGRATING:
            command.upgrade(config, "head")
        connection.commit()


def require_current(connection: Connection, url: URL) -> None:
    """Check that the tables are of this version, without changing them.

    Raises:
        LogUnreadable: they are not.
    """
    _, known = _migrations()
    at = MigrationContext.configure(connection).get_current_revision()
    if at != known[0]:
        what = "not a log" if at is None else f"version {printable(str(at))} of the log's tables, not {known[0]}"
        raise LogUnreadable(f"{shown(url)}: {what}")


def _migrations() -> tuple[Config, list[str]]:
    """Alembic's configuration, and the versions that there are, the newest first."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config, [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


def _sqlite_connected(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin in _sqlite_begun


def _sqlite_durable(connection: Any, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_read_only(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _sqlite_begun(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _postgresql_durable(connection: Any, _: Any) -> None:
    connection.execute("SET synchronous_commit = on")
    connection.commit()


def _postgresql_read_only(connection: Any, _: Any) -> None:
    connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    connection.commit()
