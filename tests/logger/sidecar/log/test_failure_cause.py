"""Causes of failures, from the failures themselves."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import psycopg
import pytest
from sqlalchemy import create_engine, text

from benchmarks.free_port import free_port
from tests.logger.store.examples import ORIGIN, filled
from tests.postgresql import new_database
from weightwarden.logger.archive.storage import publish
from weightwarden.logger.sidecar.log.failure_cause import ADVICE, cause_of
from weightwarden.logger.store.errors import LogForked, LogWriteError
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter


def failure(work: Callable[[], object]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def test_a_full_disk_is_named_through_the_error_of_the_part_that_met_it() -> None:
    def write() -> None:
        with Path("/dev/full").open("wb", buffering=0) as device:

            def fill(_: BinaryIO) -> None:
                device.write(b"x")

            publish("/dev/shm/weightwarden-cause.parquet", fill)

    assert cause_of(failure(write)) == "disk full"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert cause_of(failure(lambda: publish(str(tmp_path / "no" / "a.parquet"), lambda _: None))) == "missing"
    assert cause_of(failure(lambda: publish("/proc/a.parquet", lambda _: None))) in ("missing", "no permission")


def test_a_database_that_another_locks_and_one_that_is_none_are_told_apart(tmp_path: Path) -> None:
    first, second = (sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None) for _ in range(2))
    first.execute("BEGIN EXCLUSIVE")
    assert cause_of(failure(lambda: second.execute("BEGIN EXCLUSIVE"))) == "locked"
    first.close()
    second.close()
    (tmp_path / "b.db").write_bytes(b"not a database" * 100)
    assert cause_of(failure(lambda: LogReader(str(tmp_path / "b.db")))) == "damaged"


def test_a_second_writer_is_locked_out_and_a_log_that_lost_records_is_changed(tmp_path: Path) -> None:
    url = str(tmp_path / "log.db")
    with LogWriter.open(url, origin=ORIGIN):
        assert cause_of(failure(lambda: LogWriter.open(url, origin=ORIGIN))) == "locked"
    assert cause_of(LogForked("gone")) == "changed"


def test_a_postgresql_server_that_does_not_answer_is_no_connection() -> None:
    assert cause_of(failure(lambda: LogReader(f"postgresql://127.0.0.1:{free_port()}/log"))) == "no connection"


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("SET TRANSACTION READ ONLY; CREATE TABLE a ()", "read-only"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "no connection"),
        ("SET LOCAL lock_timeout = 1; LOCK TABLE entry", "locked"),
        ("SET LOCAL ROLE pg_monitor; DELETE FROM entry", "no permission"),
        ("SELECT 1/0", "other"),
    ],
)
def test_causes_of_postgresqls_errors(postgresql: str, statement: str, cause: str) -> None:
    url = new_database(postgresql)
    filled(url, 1)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE" if cause == "locked" else "SELECT 1")

        def run() -> None:
            with engine.connect() as connection:
                connection.execute(text(statement))

        assert cause_of(failure(run)) == cause
    engine.dispose()


def test_the_cause_is_known_to_every_waiter_of_a_failed_append(postgresql: str) -> None:
    url = new_database(postgresql)
    with LogWriter.open(url, origin=ORIGIN) as writer:
        with psycopg.connect(url, autocommit=True) as other:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            other.execute(f"{ended} AND pid <> pg_backend_pid()")
        failures = [failure(future.result) for future in [writer.append(b"a")]]
        assert [cause_of(one) for one in failures] == ["no connection"]
        assert all(isinstance(one, LogWriteError) for one in failures)


def test_every_cause_has_an_advice() -> None:
    assert cause_of(Exception("anything")) == "other"
    assert all(ADVICE.values())
