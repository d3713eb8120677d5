"""The verdict database: SQLite by path, PostgreSQL by URL; several servers may share one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, Table, text
from sqlalchemy.dialects import postgresql, sqlite

from weightwarden.logger.database import DatabaseKind
from weightwarden.verifier.server.errors import VerdictsUnusable

VERDICT_DATABASE = DatabaseKind(
    name="verdict database",
    migrations=Path(__file__).parent / "migrations",
    table="series",
    unusable=VerdictsUnusable,
    synced=False,
    upgraded_by="verify serve",
)
_NOW = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
}


class VerdictDatabase:
    """Connection to the database, which is created when new. May be used from any thread."""

    def __init__(self, url: str) -> None:
        """Open the database.

        Raises:
            VerdictsUnusable: the database cannot be opened, or its tables are of a later version.
        """
        self._url = VERDICT_DATABASE.parse_url(url)
        self._engine = VERDICT_DATABASE.make_engine(self._url, create=True)
        with VERDICT_DATABASE.failures_named(self._url), self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":  # two servers may start at once
                connection.execute(text("SELECT pg_advisory_lock(7827342)"))
                connection.commit()
            VERDICT_DATABASE.migrate(connection.execution_options(writes=True), self._url)

    def unsynced(self) -> tuple[str, ...]:
        """Settings of PostgreSQL that are off, so that a power cut loses verdicts.

        Raises:
            VerdictsUnusable: the database cannot be opened.
        """
        return VERDICT_DATABASE.unsynced(self._url)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with.

        Raises:
            VerdictsUnusable: the database fails.
        """
        with VERDICT_DATABASE.failures_named(self._url), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: durable after the context, and rolled back by an exception.

        Raises:
            VerdictsUnusable: the database fails.
        """
        with (
            VERDICT_DATABASE.failures_named(self._url),
            self._engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            yield connection


def database_now(connection: Connection) -> float:
    """The database's own clock, seconds since 1970, which all servers share."""
    return float(connection.execute(text(_NOW[connection.dialect.name])).scalar_one())


def mapping(connection: Connection, query: "Select[Any, Any]") -> dict[Any, Any]:
    """Dictionary of a query's two columns: the second by the first."""
    return dict(iter(connection.execute(query)))


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows whose keys are new, also with concurrent inserts."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(table).on_conflict_do_nothing(), list(rows))
