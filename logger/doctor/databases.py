"""Checks of databases: SQLite's version, access, and the version of the tables."""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, text

from weightwarden.errors import WeightwardenError
from weightwarden.logger.database import DatabaseKind, shown
from weightwarden.logger.doctor.files import exists, writable_folder
from weightwarden.logger.doctor.finding import Finding, fault, ok, warning

SQLITE_FIXED = (3, 51, 3)
SQLITE_FIXED_BRANCHES = ((3, 44, 6), (3, 50, 7))
"""Versions of SQLite without the WAL-reset bug (https://sqlite.org/wal.html): the first, and older branches with it."""


def sqlite_version(check: str, version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Finding:
    """The check of SQLite's version for the bug by which two connections can corrupt a database in WAL mode."""
    name = ".".join(map(str, version))
    fixed = any(version[:2] == branch[:2] and version >= branch for branch in SQLITE_FIXED_BRANCHES)
    if version >= SQLITE_FIXED or fixed:
        return ok(check, f"{name}: without the WAL-reset bug")
    return warning(
        check,
        f"{name}: two programs that write at the same moment can corrupt a database",
        "write to it with this project's commands alone, which take turns; or use a Python with SQLite 3.51.3",
    )


def database(check: str, kind: DatabaseKind, url: str, *, option: str) -> list[Finding]:
    """The checks that a database can be used, or made, at the start. With SQLite, its version is checked too.

    Args:
        check: name of the check.
        kind: the kind of database.
        url: path or URL.
        option: the option that names it, for the advice.
    """
    advice = f"start the database, or correct {option}"
    try:
        where = kind.parse_url(url)
        path = Path(str(where.database)) if where.drivername == "sqlite" else None
        if path is not None and not exists(path):
            folder = writable_folder(check, path.absolute().parent)
            found = [folder if folder.advice else ok(check, f"{path}: will be made at the start")]
        else:
            found = [_opened(check, kind, url, option)]
            if off := kind.unsynced(where):
                what = f"{shown(where)}: PostgreSQL runs with {' and '.join(f'{name} = off' for name in off)}"
                found.append(
                    (fault if kind.synced else warning)(
                        check, what, f"set {' and '.join(off)} to on in postgresql.conf"
                    )
                )
        return found if path is None else [*found, sqlite_version("SQLite")]
    except WeightwardenError as error:
        return [fault(check, str(error), advice)]


def holds_current_tables(kind: DatabaseKind, url: str) -> bool:
    """True if a database can be opened, and its tables need no migration."""
    try:
        where = kind.parse_url(url)
        with kind.failures_named(where), kind.make_engine(where, writes=False).connect() as connection:
            return kind.version_of(connection, where) == kind.known_versions()[0]
    except WeightwardenError:
        return False


def local_file(kind: DatabaseKind, url: str) -> Path | None:
    """The file of a database in SQLite, or None."""
    try:
        where = kind.parse_url(url)
    except WeightwardenError:
        return None
    return Path(str(where.database)) if where.drivername == "sqlite" else None


def _opened(check: str, kind: DatabaseKind, url: str, option: str) -> Finding:
    """The check of an existing database, through a connection that only reads."""
    where = kind.parse_url(url)
    engine = kind.make_engine(where, writes=False)
    with kind.failures_named(where), engine.connect() as connection:
        at, known = kind.version_of(connection, where), kind.known_versions()
        if at is None:
            refused = _cannot_hold_tables(connection)
            if refused is not None:
                return fault(check, f"{shown(where)}: {refused}", f"use an empty database, or correct {option}")
            return ok(check, f"{shown(where)}: empty; its tables will be made at the start")
    if at not in known:
        return fault(check, f"{shown(where)}: its tables are of a later version", "upgrade weightwarden")
    return ok(check, f"{shown(where)}: {'opened' if at == known[0] else 'will be migrated at the start'}")


def _cannot_hold_tables(connection: Connection) -> str | None:
    """The reason why this project's tables cannot be made in a database without them, or None."""
    if connection.dialect.name == "sqlite":
        tables = connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one()
        return "another program's database" if tables else None
    may = connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar_one()
    return None if may else "this user may not make tables in it"
