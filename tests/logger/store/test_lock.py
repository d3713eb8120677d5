"""The lock in PostgreSQL, which a session may still hold for a moment after its connection was lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.logger.store.examples import ORIGIN, audited, filled
from tests.postgresql import new_database
from weightwarden.logger.store import lock
from weightwarden.logger.store.errors import LogLocked
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.writer import LogWriter

LEAVES_AFTER_SECONDS = 0.3


@pytest.fixture
def url(postgresql: str) -> str:
    """A log of two entries."""
    made = new_database(postgresql)
    filled(made, 2)
    return made


@contextmanager
def held(url: str, purpose: lock.Purpose) -> Iterator[psycopg.Connection]:
    """Another session, which has a log's lock."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("SELECT pg_advisory_lock(%s)", [lock._ADVISORY[purpose]])
        yield session
        if not session.closed:
            session.execute("SELECT pg_advisory_unlock_all()")  # before the server has noticed that it is closed


@contextmanager
def leaving(session: psycopg.Connection) -> Iterator[threading.Event]:
    """The end of a session after a while; the event says that it has begun."""
    leaves = threading.Event()

    def leave() -> None:
        leaves.set()
        session.close()

    timer = threading.Timer(LEAVES_AFTER_SECONDS, leave)
    timer.start()
    try:
        yield leaves
    finally:
        timer.join()


@pytest.fixture
def long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that a busy machine does not outlast."""
    monkeypatch.setattr(lock, "_LEAVING_SECONDS", 60.0)


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_LEAVING_SECONDS", 3 * lock._POLL_SECONDS)


@pytest.mark.usefixtures("long_wait")
def test_a_writer_waits_for_the_lock_of_a_session_that_leaves(url: str) -> None:
    with held(url, "append") as session, leaving(session) as leaves, LogWriter.open(url, origin=ORIGIN) as writer:
        assert leaves.is_set()
        assert writer.append(b"next").result(60) == 2
    assert audited(url)[2:] == [b"next"]


@pytest.mark.usefixtures("long_wait")
def test_a_sealer_waits_for_the_lock_of_a_session_that_leaves(url: str) -> None:
    with held(url, "seal") as session, leaving(session) as leaves, SealBook(url) as book:
        assert leaves.is_set()
        book.add_checkpoint(2, b"note")


@pytest.mark.usefixtures("short_wait")
def test_a_lock_that_another_keeps_is_refused_until_it_is_given_back(url: str) -> None:
    with held(url, "append"), pytest.raises(LogLocked, match="appends to"):
        LogWriter.open(url, origin=ORIGIN)
    with held(url, "seal"), pytest.raises(LogLocked, match="seals"):
        SealBook(url)
    with LogWriter.open(url, origin=ORIGIN), SealBook(url):
        pass


@pytest.mark.usefixtures("short_wait")
def test_who_appends_does_not_keep_from_sealing(url: str) -> None:
    with held(url, "append"), SealBook(url):
        pass
    with held(url, "seal"), LogWriter.open(url, origin=ORIGIN):
        pass
