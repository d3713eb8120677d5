import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.postgresql import new_database, postgresql_server
from weightwarden.logger.doctor.databases import database, holds_current_tables, local_file, sqlite_version
from weightwarden.logger.doctor.finding import Finding, Status
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.writer import LogWriter
from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE

ORIGIN = "example.org/log"


def checked(url: str) -> Finding:
    return database("log", LOG_DATABASE, url, option="--log")[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ((3, 40, 1), Status.WARNING),
        ((3, 44, 5), Status.WARNING),
        ((3, 44, 6), Status.OK),
        ((3, 45, 9), Status.WARNING),
        ((3, 50, 6), Status.WARNING),
        ((3, 50, 7), Status.OK),
        ((3, 51, 2), Status.WARNING),
        ((3, 51, 3), Status.OK),
        ((4, 0, 0), Status.OK),
    ],
)
def test_versions_of_sqlite_with_the_wal_reset_bug_are_named(version: tuple[int, ...], status: Status) -> None:
    found = sqlite_version("SQLite", version)
    assert found.status is status
    assert bool(found.advice) == (status is Status.WARNING)


def test_a_database_in_sqlite_is_looked_at_and_not_made(tmp_path: Path) -> None:
    url = str(tmp_path / "log.db")
    findings = database("log", LOG_DATABASE, url, option="--log")
    assert [one.check for one in findings] == ["log", "SQLite"]
    assert "will be made" in findings[0].found
    assert list(tmp_path.iterdir()) == []
    with LogWriter.open(url, origin=ORIGIN):
        pass
    before = contents(tmp_path)
    assert checked(url).status is Status.OK
    assert holds_current_tables(LOG_DATABASE, url)
    assert contents(tmp_path) == before


def test_a_database_that_cannot_hold_the_log_is_a_fault(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE other (a)")
    connection.close()
    (tmp_path / "text.db").write_text("not a database, and longer than the header of one, " * 20)
    for url in ("missing/log.db", "other.db", "text.db"):
        found = checked(str(tmp_path / url))
        assert found.status is Status.FAULT, url
        assert "--log" in found.advice or "mkdir" in found.advice
    assert checked("redis://a").status is Status.FAULT


def test_tables_of_another_version_are_named(tmp_path: Path) -> None:
    url = str(tmp_path / "log.db")
    with LogWriter.open(url, origin=ORIGIN):
        pass
    versions = LOG_DATABASE.known_versions()
    for version, status, said in (
        (versions[-1], Status.OK, "migrated"),
        ("9999", Status.FAULT, "later version"),
    ):
        with sqlite3.connect(url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.close()
        assert (checked(url).status, said in checked(url).found) == (status, True)
        assert not holds_current_tables(LOG_DATABASE, url)


def test_a_database_in_postgresql_is_looked_at_and_not_made(postgresql: str) -> None:
    url = new_database(postgresql)
    assert "will be made" in checked(url).found
    assert not holds_current_tables(LOG_DATABASE, url)
    with LogWriter.open(url, origin=ORIGIN):
        pass
    assert checked(url).status is Status.OK
    assert local_file(LOG_DATABASE, url) is None


def test_a_user_who_may_make_no_tables_is_a_fault(postgresql: str) -> None:
    import psycopg

    url = new_database(postgresql)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    found = checked(url.replace("weightwarden@", "reader@"))
    assert found.status is Status.FAULT
    assert "may not make tables" in found.found


def test_a_server_that_does_not_sync_is_a_fault_for_a_log_and_a_warning_for_verdicts() -> None:
    with postgresql_server(fsync="off") as server:
        for kind, status in ((LOG_DATABASE, Status.FAULT), (VERDICT_DATABASE, Status.WARNING)):
            [_, found] = database("log", kind, new_database(server), option="--log")
            assert (found.status, "fsync = off" in found.found) == (status, True)


def test_a_database_server_that_does_not_run_is_a_fault_and_its_password_is_not_shown() -> None:
    found = checked("postgresql://user:topsecret@127.0.0.1:1/log")
    assert found.status is Status.FAULT
    assert "topsecret" not in str(found)


def test_a_copy_with_two_names_is_a_fault(tmp_path: Path) -> None:
    url = str(tmp_path / "log.db")
    with LogWriter.open(url, origin=ORIGIN):
        pass
    shutil.copy(url, tmp_path / "copy.db")
    assert checked(str(tmp_path / "copy.db")).status is Status.OK
    (tmp_path / "link.db").hardlink_to(tmp_path / "copy.db")
    assert "hard links" in checked(str(tmp_path / "copy.db")).found
