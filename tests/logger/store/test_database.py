import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.logger.store.examples import ORIGIN, audited, filled
from weightwarden.logger.database import shown
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogLocked, LogUnreadable
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host:port/log",
        "postgresql://me:secret@[::1/log",
        "sqlite://me:secret@host/log.db",
        "sqlite:///log\0.db",
        "log\0.db",
        "",
    ],
)
def test_malformed_urls_are_refused_and_show_no_password(url: str) -> None:
    with pytest.raises(LogUnreadable) as caught:
        LOG_DATABASE.parse_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/log?password=secret", "postgres://me:secret@127.0.0.1:1/log"]
)
def test_a_password_is_not_shown_wherever_it_stands(url: str) -> None:
    assert LOG_DATABASE.parse_url(url).drivername == "postgresql+psycopg"
    assert "127.0.0.1" in shown(LOG_DATABASE.parse_url(url))
    with pytest.raises(LogUnreadable, match=r"127\.0\.0\.1") as caught:
        LogReader(url)
    assert "secret" not in str(caught.value)


def test_a_path_and_its_url_are_the_same_log(tmp_path: Path) -> None:
    entries = filled(str(tmp_path / "log.db"), 3)
    assert audited(f"sqlite:///{tmp_path}/log.db") == entries


def test_a_missing_driver_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LogUnreadable, match=r"psycopg is missing: .+ install .+\[postgresql\]"):
        LogReader("postgresql://127.0.0.1:1/log")


def test_reading_changes_no_file(tmp_path: Path) -> None:
    empty, other = tmp_path / "empty", tmp_path / "other.db"
    empty.touch()
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE other (a)")
    connection.close()
    before = other.read_bytes()
    for path in (empty, other):
        with pytest.raises(LogUnreadable, match="not a log"):
            LogReader(str(path))
    assert empty.read_bytes() == b""
    assert other.read_bytes() == before


def test_a_log_reached_by_a_link_has_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "log.db")
    with LogWriter.open(str(tmp_path / "log.db"), origin=ORIGIN), pytest.raises(LogLocked):
        LogWriter.open(str(tmp_path / "link.db"), origin=ORIGIN)


def test_logs_may_be_made_by_several_threads_at_once(tmp_path: Path) -> None:
    # In a process of its own: unguarded, Alembic's globals mixed up the connections and crashed the interpreter.
    script = (
        "import sys, threading\n"
        "from weightwarden.logger.store.writer import LogWriter\n"
        "made = []\n"
        "def make(n):\n"
        "    LogWriter.open(f'{sys.argv[1]}/{n}.db', origin='example.org/log').close()\n"
        "    made.append(n)\n"
        "threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "sys.exit(0 if len(made) == 8 else 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, timeout=120)
    assert [LogReader(str(tmp_path / f"{n}.db")).origin for n in range(8)] == [ORIGIN] * 8


def test_of_many_openers_at_once_one_gets_the_log(log_url: str) -> None:
    def opened(_: int) -> LogWriter | None:
        try:
            return LogWriter.open(log_url, origin=ORIGIN)
        except LogLocked:
            return None

    with ThreadPoolExecutor(6) as threads:
        writers = [writer for writer in threads.map(opened, range(6)) if writer is not None]
    assert len(writers) == 1
    assert writers[0].append(b"a").result(60) == 0
    writers[0].close()
    assert audited(log_url) == [b"a"]


def test_making_a_log_may_be_interrupted_at_every_statement(log_url: str) -> None:
    statements = 0

    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == limit:
            raise Interrupted

    limit, finished = 1, False
    while not finished:
        statements = 0
        event.listen(Engine, "before_cursor_execute", interrupt)
        try:
            LogWriter.open(log_url, origin=ORIGIN).close()
            finished = True
        except Interrupted:
            limit += 1
        finally:
            event.remove(Engine, "before_cursor_execute", interrupt)
    assert limit > 20
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        assert writer.append(b"a").result(60) == 0
    assert audited(log_url) == [b"a"]


def test_a_database_waits_to_become_wal_while_another_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN IMMEDIATE")  # until its end the journal's mode cannot change, and SQLite does not wait
    release = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    release.start()
    with LOG_DATABASE.make_engine(LOG_DATABASE.parse_url(str(path))).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    release.join()
    other.close()
