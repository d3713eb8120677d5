from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from tests.logger.store.examples import ORIGIN, audited, disarmed, entry, filled, raw, raw_sql, tree_of
from weightwarden.logger.database import shown
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogCorrupt, LogLocked, LogUnreadable
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.tree import MARK_EVERY
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.merkle import leaf_hash

TAMPERING = {
    "payload changed": 'UPDATE entry SET payload = :other WHERE "index" = 4',
    "leaf hash changed": 'UPDATE entry SET leaf_hash = :leaf WHERE "index" = 4',
    "first removed": 'DELETE FROM entry WHERE "index" = 0',
    "one removed": 'DELETE FROM entry WHERE "index" = 4',
    "last removed": 'DELETE FROM entry WHERE "index" = 9',
    "payload and leaf hash changed": 'UPDATE entry SET payload = :other, leaf_hash = :leaf WHERE "index" = 4',
}
SWAP = (
    'UPDATE entry SET "index" = 100 WHERE "index" = 4',
    'UPDATE entry SET "index" = 4 WHERE "index" = 5',
    'UPDATE entry SET "index" = 5 WHERE "index" = 100',
)


@pytest.mark.parametrize("table", ["entry", "mark", "checkpoint", "archive", "log", "cosignature"])
def test_the_database_itself_refuses_to_change_or_remove_rows(log_url: str, table: str) -> None:
    entries = filled(log_url, MARK_EVERY + 1)
    with SealBook(log_url) as book:
        book.add_checkpoint(1, b"note")
        book.add_archive(0, 1, "a")
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        assert writer.add_cosignature(1, "a witness", "a line")
    key = {
        "entry": '"index"',
        "mark": "size",
        "checkpoint": "size",
        "archive": '"end"',
        "log": "id",
        "cosignature": "size",
    }[table]
    statements = [f"UPDATE {table} SET {key} = {key} + 1000000", f"DELETE FROM {table}"]
    if log_url.startswith("postgresql"):
        statements += [f"TRUNCATE {table} CASCADE"]
    else:
        statements += [
            f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE {key} = (SELECT MIN({key}) FROM {table})"
        ]
    for statement in statements:
        with pytest.raises(DBAPIError, match="the log is append-only"):
            raw_sql(log_url, statement)
    assert audited(log_url) == entries


@pytest.mark.parametrize("what", [*TAMPERING, "two swapped"])
def test_tampering_past_the_store_is_found_by_the_audit(log_url: str, what: str) -> None:
    entries = filled(log_url, 10)
    with SealBook(log_url) as book:
        book.add_checkpoint(10, tree_of(entries).root())
    disarmed(log_url)
    for statement in SWAP if what == "two swapped" else (TAMPERING[what],):
        values = {"other": b"another", "leaf": leaf_hash(b"another")}
        raw_sql(log_url, statement, **{name: value for name, value in values.items() if f":{name}" in statement})
    with pytest.raises(LogCorrupt):
        LogReader(log_url).audit(root_of=lambda note: note)


def test_a_consistent_rewriting_is_found_by_its_checkpoint_alone(log_url: str) -> None:
    entries = filled(log_url, 10)
    with SealBook(log_url) as book:
        book.add_checkpoint(7, tree_of(entries[:7]).root())
    disarmed(log_url)
    raw_sql(
        log_url,
        'UPDATE entry SET payload = :other, leaf_hash = :leaf WHERE "index" = 4',
        other=b"another",
        leaf=leaf_hash(b"another"),
    )
    LogReader(log_url).audit()
    with pytest.raises(LogCorrupt, match="first 7 entries"):
        LogReader(log_url).audit(root_of=lambda note: note)


def test_a_changed_mark_is_found_by_the_audit(log_url: str) -> None:
    filled(log_url, MARK_EVERY + 5)
    disarmed(log_url)
    raw_sql(log_url, "UPDATE mark SET frontier = :other", other=bytes(32))
    with pytest.raises(LogCorrupt, match="frontier"):
        LogReader(log_url).audit()


def test_marks_and_checkpoints_beyond_the_log_are_found(log_url: str) -> None:
    filled(log_url, 5)
    with SealBook(log_url) as book:
        book.add_checkpoint(6, bytes(32))
    with pytest.raises(LogCorrupt, match="of 6"):
        LogReader(log_url).audit(root_of=lambda note: note)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET payload = 'text' WHERE \"index\" = 4",
        'UPDATE entry SET payload = 4000000000 WHERE "index" = 4',
        "UPDATE entry SET leaf_hash = 'text' WHERE \"index\" = 4",
        "UPDATE checkpoint SET note = 'text'",
        "INSERT INTO mark VALUES (3, 'text')",
        "INSERT INTO mark VALUES (0, x'00')",
        "INSERT INTO mark VALUES (-1, x'00')",
        "INSERT INTO checkpoint VALUES (0, x'00')",
        "INSERT INTO entry VALUES (-1, x'00', x'00')",
        "INSERT INTO entry VALUES (4611686018427387904, x'00', x'00')",
        "UPDATE log SET origin = x'ff'",
        "DELETE FROM log",
        "INSERT INTO log VALUES (2, 'another/log')",
    ],
)
def test_whatever_sqlite_lets_an_attacker_write_is_found_by_the_audit(tmp_path: Path, statement: str) -> None:
    url = str(tmp_path / "log.db")
    entries = filled(url, 10)
    with SealBook(url) as book:
        book.add_checkpoint(10, tree_of(entries).root())
    disarmed(url)
    raw_sql(url, statement)
    with pytest.raises(LogCorrupt):
        LogReader(url).audit(root_of=lambda note: note)


def test_the_audit_of_a_log_that_grows_meanwhile_sees_one_moment(log_url: str) -> None:
    entries = [entry(i) for i in range(8)]
    filled(log_url, 5)
    grown = False

    def grow(connection: object, cursor: object, statement: str, *_: object) -> None:
        nonlocal grown
        if "max(entry" in statement and not grown:
            grown = True
            with LogWriter.open(log_url, origin=ORIGIN) as writer, SealBook(log_url) as book:
                for one in entries[5:]:
                    writer.append(one).result(60)
                book.add_checkpoint(8, tree_of(entries).root())

    reader = LogReader(log_url)
    event.listen(Engine, "after_cursor_execute", grow)
    try:
        assert reader.audit(root_of=lambda note: note) == tree_of(entries[:5])
    finally:
        event.remove(Engine, "after_cursor_execute", grow)
    assert grown
    assert reader.audit(root_of=lambda note: note) == tree_of(entries)


def test_the_seal_book_keeps_order(log_url: str) -> None:
    filled(log_url, 5)
    with SealBook(log_url) as book:
        book.add_checkpoint(3, b"a")
        book.add_checkpoint(5, b"b")
        for size in (3, 4, 5):
            with pytest.raises(LogCorrupt):
                book.add_checkpoint(size, b"c")
        for start, end in ((1, 3), (0, 0), (3, 5)):
            with pytest.raises(LogCorrupt):
                book.add_archive(start, end, "x")
        with pytest.raises(LogUnreadable):
            book.add_archive(0, 4, "x")  # not a checkpoint
        book.add_archive(0, 3, "x")
        book.add_archive(3, 5, "y")
    reader = LogReader(log_url)
    assert reader.checkpoints() == [(3, b"a"), (5, b"b")]
    assert reader.archives() == [(0, 3, "x"), (3, 5, "y")]


def test_a_second_sealer_is_refused_and_a_writer_is_not(log_url: str) -> None:
    filled(log_url, 5)
    with SealBook(log_url) as book:
        with pytest.raises(LogLocked, match="another process seals"):
            SealBook(log_url)
        with LogWriter.open(log_url, origin=ORIGIN) as writer:
            book.add_checkpoint(5, b"a")
            assert writer.append(b"x").result(60) == 5


def test_a_log_of_a_newer_version_is_refused_and_left_alone(log_url: str) -> None:
    filled(log_url, 1)
    raw_sql(log_url, "UPDATE alembic_version SET version_num = '9999'")
    for open_it in (LogReader, SealBook, lambda url: LogWriter.open(url, origin=ORIGIN)):
        with pytest.raises(LogUnreadable, match="9999"):
            open_it(log_url)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    missing, rubbish, empty = (tmp_path / name for name in ("missing", "rubbish", "empty"))
    rubbish.write_bytes(b"not a database at all, but long enough to be one" * 100)
    empty.touch()
    for path in (missing, rubbish, empty, tmp_path):
        with pytest.raises(LogUnreadable, match=str(path)):
            LogReader(str(path))
    assert not missing.exists()
    with pytest.raises(LogUnreadable):
        LogWriter.open(str(rubbish), origin=ORIGIN)
    with pytest.raises(LogUnreadable):
        LogWriter.open(str(tmp_path / "no" / "folder"), origin=ORIGIN)
    with pytest.raises(LogUnreadable):
        LogWriter.open("postgresql://nobody@127.0.0.1:1/none", origin=ORIGIN)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "http://x",
        "://",
        "postgresql+nosuch://x",
    ],
)
def test_urls_that_no_log_can_be_in_are_refused(url: str) -> None:
    with pytest.raises(LogUnreadable):
        LOG_DATABASE.parse_url(url)


def test_messages_never_show_the_password() -> None:
    assert "secret" not in shown(LOG_DATABASE.parse_url("postgresql://me:secret@127.0.0.1:1/none"))
    with pytest.raises(LogUnreadable) as caught:
        LogWriter.open("postgresql://me:secret@127.0.0.1:1/none", origin=ORIGIN)
    assert "secret" not in str(caught.value)


def test_the_database_file_is_its_owners_alone(tmp_path: Path) -> None:
    filled(str(tmp_path / "log.db"), 1)
    assert (tmp_path / "log.db").stat().st_mode & 0o777 == 0o600


def test_a_long_reading_does_not_keep_the_write_ahead_log(tmp_path: Path) -> None:
    """In one transaction, the write-ahead log beside a sealing grew from 4 to 186 MB."""
    log = str(tmp_path / "log.db")
    entries = filled(log, 300)
    reading = LogReader(log).entries(0, 300)
    read = [next(reading) for _ in range(100)]
    with LogWriter.open(log, origin=ORIGIN) as writer:
        writer.append(b"beside the reading" * 10_000).result(60)
        with raw(log) as connection:
            busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        assert busy == 0
        assert (tmp_path / "log.db-wal").stat().st_size == 0
    assert read + list(reading) == entries
