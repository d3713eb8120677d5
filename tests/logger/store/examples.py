"""What the store's tests share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, text

from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash

ORIGIN = "example.org/log"


def entry(number: int) -> bytes:
    return b"entry %d " % number * 3


def tree_of(entries: Sequence[bytes]) -> Frontier:
    tree = Frontier()
    tree.extend(map(leaf_hash, entries))
    return tree


def filled(url: str, count: int) -> list[bytes]:
    """A log of so many entries."""
    entries = [entry(i) for i in range(count)]
    with LogWriter.open(url, origin=ORIGIN) as writer:
        futures = [writer.append(one) for one in entries]
        assert [future.result(60) for future in futures] == list(range(count))
    return entries


def audited(url: str) -> list[bytes]:
    """All entries of a log, once it was checked whole.

    They are those of the check: PostgreSQL may commit what a killed writer sent a moment after its death.
    """
    reader = LogReader(url)
    tree = reader.audit()
    entries = list(reader.entries(0, tree.size))
    assert tree == tree_of(entries)
    assert reader.frontier(tree.size) == tree
    return entries


@contextmanager
def raw(url: str) -> Iterator[Connection]:
    """The database past the store, as an attacker with its password has it."""
    engine = create_engine(LOG_DATABASE.parse_url(url))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def raw_sql(url: str, statement: str, **values: Any) -> None:
    with raw(url) as connection:
        connection.execute(text(statement), values)
        connection.commit()


def disarmed(url: str) -> None:
    """Drop the triggers, as an attacker who owns the database can."""
    with raw(url) as connection:
        if connection.dialect.name == "sqlite":
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            for name in names:
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            functions = "SELECT proname FROM pg_proc WHERE proname LIKE 'weightwarden%'"
            for name in connection.execute(text(functions)).scalars().all():
                connection.execute(text(f"DROP FUNCTION {name}() CASCADE"))
        connection.commit()
