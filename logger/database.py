"""Databases of the project: SQLite by path, PostgreSQL by URL. A process that may write makes and migrates them."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from weightwarden.errors import WeightwardenError
from weightwarden.extras import how_to_add
from weightwarden.text import first_line, printable

BUSY_SECONDS = 30
WAL_KEPT_BYTES = 64 * 2**20
"""Size to which SQLite cuts a write-ahead log once its content is in the database."""
_POLL_SECONDS = 0.01
_DURABLE_SETTINGS = ("fsync", "full_page_writes")
"""PostgreSQL's settings of the server without which a power cut loses or destroys what was committed."""
_NO_ROOM = ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHMSIZE")
_WRITING_SESSION = "SET synchronous_commit = on"
_READING_SESSION = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_MIGRATING = threading.Lock()
"""Lock for one migration at a time in a process: Alembic passes the connection by global names."""


class DatabaseUnusable(WeightwardenError, OSError):
    """A database that cannot be opened: missing, no such server, another format."""


@dataclass(frozen=True, kw_only=True)
class DatabaseKind:
    """One kind of database of the project.

    Attributes:
        name: the name in messages, for example "log".
        migrations: folder of its Alembic migrations.
        table: a table that it has in every version, and other kinds have not. Kinds number their versions alike.
        unusable: error that is raised when a database cannot be used.
        synced: True: a PostgreSQL server that does not sync what it commits is refused for writing.
        upgraded_by: command that migrates a database of an earlier version.
    """

    name: str
    migrations: Path
    table: str
    unusable: type[DatabaseUnusable]
    synced: bool
    upgraded_by: str

    def parse_url(self, text: str) -> URL:
        """The database that a path, `sqlite:///path` or `postgresql://...` names.

        Raises:
            DatabaseUnusable: the text names no supported database.
        """
        try:
            url = make_url(text) if "://" in text else _of_file(text)
        except (SQLAlchemyError, ValueError):
            raise self.unusable(
                f"the {self.name}'s URL is malformed (not repeated here: it may hold a password)"
            ) from None
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.drivername not in ("sqlite", "postgresql+psycopg"):
            raise self.unusable(f"{shown(url)}: a {self.name} is in SQLite (a path) or PostgreSQL (postgresql://...)")
        if url.drivername == "sqlite" and (
            not url.database or url.database == ":memory:" or "\0" in url.database or url != _of_file(url.database)
        ):
            raise self.unusable(f"{shown(url)}: a {self.name} in SQLite needs the path of a file, and nothing else")
        return url

    @contextmanager
    def failures_named(self, url: URL) -> Iterator[None]:
        """Context that turns errors of an unusable database into `DatabaseUnusable`."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            if isinstance(error, WeightwardenError):
                raise
            raise self.unusable(f"{shown(url)}: {described(error)}") from error

    def make_engine(self, url: URL, *, create: bool = False, writes: bool = True) -> Engine:
        """An engine with durable connections, a new one for each use.

        Args:
            url: the database.
            create: True: a missing SQLite file is made, readable by its owner alone.
            writes: True: its connections may change the database.

        Raises:
            DatabaseUnusable: the file or PostgreSQL's driver is missing. Connections raise it for a pooler, and for a
                server that does not sync.
        """
        if url.drivername == "sqlite":
            self._require_file(url, create=create)
            engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
            event.listen(engine, "connect", _sqlite_connected)
            event.listen(engine, "connect", _sqlite_durable if writes else _sqlite_read_only)
            event.listen(engine, "begin", _sqlite_begun)
            return engine
        arguments = {"connect_timeout": BUSY_SECONDS, "prepare_threshold": None}
        try:
            engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
        except (ModuleNotFoundError, NoSuchModuleError):
            raise self.unusable(f"psycopg is missing: {how_to_add('postgresql')}") from None
        event.listen(engine, "do_connect", partial(self._connected_to_postgresql, url, writes))
        return engine

    def _connected_to_postgresql(
        self, url: URL, writes: bool, dialect: Any, _: Any, arguments: Any, options: Any
    ) -> Any:
        """A new connection to PostgreSQL, checked before its first use, with a session that is set up.

        A pooler makes up the process id of the connection's server process, which its client needs only to cancel.
        """
        connection = dialect.connect(*arguments, **options)
        connection.autocommit = True  # a pooler in statement mode refuses transactions
        try:
            if connection.info.backend_pid != connection.execute("SELECT pg_backend_pid()").fetchone()[0]:
                raise self.unusable(
                    f"{shown(url)}: a connection pooler (PgBouncer) is in between: it shares sessions, so that locks"
                    f" and settings of the {self.name} do not hold; connect to PostgreSQL directly (its own port,"
                    " usually 5432)"
                )
            if writes and self.synced and (off := _off_settings(connection)):
                raise self.unusable(
                    f"{shown(url)}: PostgreSQL runs with {' and '.join(f'{name} = off' for name in off)}: a power cut"
                    f" would lose what the {self.name} confirmed; set {' and '.join(off)} to on in postgresql.conf"
                )
            connection.execute(_WRITING_SESSION if writes else _READING_SESSION)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    def unsynced(self, url: URL) -> tuple[str, ...]:
        """Settings of a PostgreSQL server that are off, so that a power cut loses what was committed.

        Raises:
            DatabaseUnusable: the database cannot be opened.
        """
        if url.drivername == "sqlite":
            return ()
        with self.failures_named(url), self.make_engine(url, writes=False).connect() as connection:
            return _off_settings(connection.connection.driver_connection)

    def _require_file(self, url: URL, *, create: bool) -> None:
        """Check that a SQLite database is one file of one name. An existing file is not opened.

        Closing it would release the locks that this process's other connections hold on it (POSIX `fcntl`).
        """
        path = Path(str(url.database))
        if create and not path.exists():
            with self.failures_named(url), suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if not create and not path.is_file():
            raise self.unusable(f"{shown(url)}: there is no {self.name} here")
        with self.failures_named(url):
            names = path.stat().st_nlink
        if path.is_file() and names > 1:
            raise self.unusable(
                f"{shown(url)}: the file has {names} names (hard links), and SQLite keeps its newest rows beside one of"
                " them: remove the others"
            )

    def migrate(self, connection: Connection, url: URL) -> None:
        """Make the tables, or migrate them to the present version.

        Raises:
            DatabaseUnusable: the tables have an unknown version, or are of another kind.
        """
        config, known = self._migrations()
        with connection.begin():
            at = self.version_of(connection, url)
        if at is not None and at not in known:
            raise self.unusable(_of_later_version(self.name, at, url))
        if at != known[0]:
            config.attributes["connection"] = connection
            with _MIGRATING:
                command.upgrade(config, "head")
            connection.commit()

    def require_current(self, connection: Connection, url: URL) -> None:
        """Check that the tables have the present version, without changing them.

        Raises:
            DatabaseUnusable: they have another version, or are of another kind.
        """
        _, known = self._migrations()
        at = self.version_of(connection, url)
        if at is None:
            raise self.unusable(f"{shown(url)}: not a {self.name}")
        if at not in known:
            raise self.unusable(_of_later_version(self.name, at, url))
        if at != known[0]:
            raise self.unusable(
                f"{shown(url)}: version {at} of the {self.name}'s tables is an earlier one: {self.upgraded_by} of this"
                " version upgrades them at its start"
            )

    def version_of(self, connection: Connection, url: URL) -> str | None:
        """Version of the tables of a database, or None without tables of this project.

        Raises:
            DatabaseUnusable: the tables are of another kind.
        """
        at = MigrationContext.configure(connection).get_current_revision()
        if at is not None and not inspect(connection).has_table(self.table):
            raise self.unusable(f"{shown(url)}: not a {self.name}: another kind of database of this project")
        return at

    def known_versions(self) -> list[str]:
        """Versions of the tables that can be read or migrated, newest first."""
        return self._migrations()[1]

    def _migrations(self) -> tuple[Config, list[str]]:
        """Alembic's configuration, and the versions, newest first."""
        config = Config()
        config.set_main_option("script_location", str(self.migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        return config, [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


def _of_later_version(name: str, version: object, url: URL) -> str:
    return f"{shown(url)}: version {printable(str(version))} of the {name}'s tables is not known here: upgrade"


def _of_file(path: str) -> URL:
    return URL.create("sqlite", database=path)


def shown(url: URL) -> str:
    """A URL for messages, without its password and its options, which may hold a password too."""
    if url.drivername == "sqlite":
        return printable(url.database or "")
    return printable(url.set(query={}).render_as_string(hide_password=True))


def described(error: Exception) -> str:
    """The message of a database or the system, as one line. SQLite's unclear error of a full disk is explained."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorname", "")
    hint = " (perhaps the disk is full)" if code in _NO_ROOM else ""
    return printable(first_line(original)) + hint


def _sqlite_connected(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin in _sqlite_begun


def _sqlite_durable(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file: it can shrink
    _into_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", f"journal_size_limit={WAL_KEPT_BYTES}"):
        connection.execute(f"PRAGMA {pragma}")


def _into_wal(connection: Any) -> None:
    """Switch a database to WAL. SQLite refuses, without waiting, while another connection switches too."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _sqlite_read_only(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _sqlite_begun(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _off_settings(connection: Any) -> tuple[str, ...]:
    """The settings of `_DURABLE_SETTINGS` that are off."""
    return tuple(
        name
        for name in _DURABLE_SETTINGS
        if connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0] == "off"
    )
