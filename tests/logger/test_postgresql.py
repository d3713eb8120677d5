"""PostgreSQL as operators run it: behind a connection pooler, and without syncing."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.logger.store.examples import ORIGIN, audited, filled
from tests.pgbouncer import pgbouncer
from tests.postgresql import new_database, postgresql_server
from weightwarden.logger.database import DatabaseUnusable
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogLocked, LogUnreadable
from weightwarden.logger.store.lock import _ADVISORY
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.writer import LogWriter
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase

OPENINGS: dict[str, Callable[[str], object]] = {
    "append": lambda url: LogWriter.open(url, origin=ORIGIN),
    "seal": SealBook,
    "read": LogReader,
    "verdicts": VerdictDatabase,
}


@pytest.fixture(scope="module", params=["session", "transaction", "statement"])
def pooler(request: pytest.FixtureRequest, postgresql: str) -> Iterator[str]:
    """URL of a PgBouncer before the server of the tests."""
    with pgbouncer(postgresql, request.param) as url:
        yield url


@pytest.fixture(scope="module", params=["fsync", "full_page_writes"])
def unsynced(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A setting, and the URL of a server where it is off."""
    with postgresql_server(**{request.param: "off"}) as url:
        yield request.param, url


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_pooler_is_refused_with_what_to_do_and_gets_no_lock_and_no_setting(
    postgresql: str, pooler: str, opening: str
) -> None:
    direct = new_database(postgresql)
    filled(direct, 2)
    with pytest.raises(DatabaseUnusable, match=r"pooler \(PgBouncer\).*connect to PostgreSQL directly"):
        OPENINGS[opening](f"{pooler}/{direct.rpartition('/')[2]}")
    with LogWriter.open(direct, origin=ORIGIN) as writer, SealBook(direct) as book:
        assert writer.append(b"next").result(60) == 2
        book.add_checkpoint(2, b"note")
    assert audited(direct)[2:] == [b"next"]


def test_a_pooler_in_transaction_mode_keeps_a_lock_of_a_client_that_is_gone(postgresql: str) -> None:
    """The reason for the refusal, with psycopg alone."""
    database, key = new_database(postgresql).rpartition("/")[2], _ADVISORY["append"]
    with pgbouncer(postgresql, "transaction") as url:
        for _ in range(2):  # two clients take the same lock
            with psycopg.connect(f"{url}/{database}", autocommit=True) as client:
                assert client.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone() == (True,)
        with psycopg.connect(f"{postgresql}/{database}", autocommit=True) as direct:
            assert direct.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone() == (False,)
        with pytest.raises(LogLocked, match="another process appends to this log; if there is none, a connection pool"):
            LogWriter.open(f"{postgresql}/{database}", origin=ORIGIN)
    with LogWriter.open(f"{postgresql}/{database}", origin=ORIGIN):
        pass


@pytest.mark.parametrize("opening", ["append", "seal"])
def test_a_log_is_not_written_where_a_power_cut_would_lose_it(unsynced: tuple[str, str], opening: str) -> None:
    setting, server = unsynced
    with pytest.raises(LogUnreadable, match=rf"{setting} = off.*set {setting} to on"):
        OPENINGS[opening](new_database(server))


def test_verdicts_are_written_there_and_the_setting_is_named(unsynced: tuple[str, str]) -> None:
    setting, server = unsynced
    assert VerdictDatabase(new_database(server)).unsynced() == (setting,)


def test_no_setting_is_named_where_everything_is_synced(postgresql: str) -> None:
    assert VerdictDatabase(new_database(postgresql)).unsynced() == ()


def test_sessions_of_writers_commit_durably_and_sessions_of_readers_write_nothing(postgresql: str) -> None:
    url = LOG_DATABASE.parse_url(new_database(postgresql))
    for writes, setting, value in ((True, "synchronous_commit", "on"), (False, "transaction_read_only", "on")):
        with LOG_DATABASE.make_engine(url, writes=writes).connect() as connection:
            assert connection.exec_driver_sql(f"SHOW {setting}").scalar_one() == value
            assert connection.connection.driver_connection is not None
            assert connection.connection.driver_connection.prepare_threshold is None
