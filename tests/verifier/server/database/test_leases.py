"""Leases under moved clocks: no clock that is set frees a living server's work, or keeps a dead one's for ever."""

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.verifier.server.running import Clock
from weightwarden.verifier.server.alerting.delivery_queue import MAX_WAIT, next_notice
from weightwarden.verifier.server.audit.task_queue import MAX_ATTEMPTS, complete, lease, put_off
from weightwarden.verifier.server.database import verdict_database
from weightwarden.verifier.server.database.leases import FORGET_SECONDS, Membership
from weightwarden.verifier.server.database.schema import ARCHIVE, DELIVERY, INCIDENT, SERVER, TASK
from weightwarden.verifier.server.database.series import SeriesKey, bind, set_series
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase, database_now
from weightwarden.verifier.server.errors import LeaseLost

TAKEOVER = 30.0
DAY = 86_400.0


class Member(Membership):
    """A server whose monotonic clock is the test's."""

    monotonic: Clock

    def later(self, seconds: float) -> None:
        self.monotonic.now += seconds


def member(database: VerdictDatabase, name: str) -> Member:
    found = Member(database=database, name=name, takeover_seconds=TAKEOVER, monotonic=Clock(100.0))
    found.beat()
    return found


@pytest.fixture
def database(database_url: str) -> VerdictDatabase:
    """A database with four selected records."""
    database = VerdictDatabase(database_url)
    bind(database, SeriesKey(policy_digest="p", model_digest="m"), time.time(), b"")
    archive = {"id": 1, "url": "u", "folder": "f", "fingerprint": "", "tries": 0, "state": "auditing", "found": 0.0}
    task = {"archive": 1, "cost": 10, "tokens": 5, "payload": b"", "attempts": 0, "due": 0.0}
    with database.writing() as connection:
        connection.execute(insert(ARCHIVE).values(**archive))
        connection.execute(insert(TASK), [task | {"position": at, "index": at} for at in range(4)])
        set_series(connection, next_position=4)
    return database


@pytest.fixture
def move(database: VerdictDatabase, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the database's clock by so many seconds, as for every process that asks it."""

    def moved(seconds: float) -> None:
        for dialect, query in list(verdict_database._NOW.items()):
            monkeypatch.setitem(verdict_database._NOW, dialect, f"{query} + {seconds:f}")
        with database.reading() as connection:
            assert abs(database_now(connection) - time.time() - seconds) < 60

    return moved


def positions(server: Membership, most: int = 4) -> list[int]:
    return [task.position for task in lease(server, most, 10_000)]


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_a_moved_clock_frees_nothing_of_a_living_server(database: VerdictDatabase, move: Any, seconds: float) -> None:
    first, second = member(database, "first"), member(database, "second")
    assert first.take("follow")
    held = lease(first, 2, 10_000)
    move(seconds)
    for _ in range(10):  # an hour in which it gives its signs of life
        second.later(TAKEOVER - 1)
        assert not second.take("follow")
        assert set(positions(second, 2)) <= {2, 3}
        first.beat()
        second.beat()
    with database.writing() as connection:
        first.require(connection, "follow")
        assert {"first", "second"} <= set(second.living(connection))
    with database.reading() as connection:
        mine = select(TASK.c.position).where(TASK.c.owner == "first").order_by(TASK.c.position)
        assert list(connection.execute(mine).scalars()) == [task.position for task in held]


@pytest.mark.parametrize("seconds", [DAY, 0.0, -DAY])
def test_a_moved_clock_keeps_nothing_of_a_dead_server(database: VerdictDatabase, move: Any, seconds: float) -> None:
    first, second = member(database, "first"), member(database, "second")
    assert first.take("follow")
    held = lease(first, 2, 10_000)
    move(seconds)
    second.beat()
    second.later(TAKEOVER - 1)
    assert not second.take("follow")
    second.later(1)
    assert second.take("follow")
    assert positions(second) == [0]  # what one server left behind comes alone
    with pytest.raises(LeaseLost):  # it was only slow: nothing of what it does now is stored
        complete(first, held, [], [])
    with database.writing() as connection, pytest.raises(LeaseLost):
        first.require(connection, "follow")


def test_a_server_that_starts_after_a_crash_waits_to_see_that_nobody_is_there(database: VerdictDatabase) -> None:
    assert positions(member(database, "crashed")) == [0, 1, 2, 3]
    second = member(database, "second")
    assert positions(second) == []
    second.later(TAKEOVER)
    assert positions(second) == [0]


def test_a_server_that_did_not_look_for_long_holds_nobody_for_dead_for_it(database: VerdictDatabase) -> None:
    first, second = member(database, "first"), member(database, "second")
    held = positions(first, 2)
    first.beat()
    second.later(100 * TAKEOVER)
    assert held == [0, 1]
    assert positions(second) == [2, 3]


def test_a_server_that_left_is_waited_for_by_nobody(database: VerdictDatabase) -> None:
    first, second = member(database, "first"), member(database, "second")
    assert positions(first) == [0, 1, 2, 3]
    first.leave()
    assert positions(second) == [0, 1, 2, 3]


def test_only_the_dead_are_forgotten_and_only_after_a_week(database: VerdictDatabase, move: Any) -> None:
    first, second = member(database, "first"), member(database, "second")
    assert positions(first, 1) == [0]
    member(database, "dead")

    def names() -> set[str]:
        with database.reading() as connection:
            return set(connection.execute(select(SERVER.c.name)).scalars())

    second.beat()
    second.later(TAKEOVER)
    first.beat()
    second.beat()
    assert names() == {"first", "second", "dead"}
    move(FORGET_SECONDS + DAY)
    second.beat()
    assert names() == {"first", "second"}
    assert positions(second) == [1, 2, 3]


def test_a_retry_that_a_clock_set_back_moved_far_away_is_due(database: VerdictDatabase, move: Any) -> None:
    first = member(database, "first")
    [task] = lease(first, 1, 1)
    put_off(first, task)
    with database.writing() as connection:
        connection.execute(update(TASK).where(TASK.c.position > 0).values(owner="first", attempts=MAX_ATTEMPTS))
        connection.execute(update(TASK).where(TASK.c.position > 0).values(due=time.time() + DAY * 9))
    move(-DAY)
    assert positions(first) == [0]


def test_a_notice_that_a_clock_set_back_moved_far_away_is_due(database: VerdictDatabase) -> None:
    now = 1_800_000_000.0
    with database.writing() as connection:
        incident = {"id": 1, "kind": "stale", "subject": "s", "level": "stale", "what": "w", "opened": now}
        connection.execute(insert(INCIDENT).values(**incident))
        notice = {"incident": 1, "channel": "command", "body": "{}", "attempts": 3}
        connection.execute(insert(DELIVERY).values(**notice, due=now + MAX_WAIT))
        assert next_notice(connection, "command", now) is None
        assert next_notice(connection, "command", now + MAX_WAIT) is not None
        assert next_notice(connection, "command", now - DAY) is not None


def test_a_database_of_several_processes_counts_each_sign_of_life(tmp_path: Path) -> None:
    database = VerdictDatabase(str(tmp_path / "verdicts.db"))
    bind(database, SeriesKey(policy_digest="p", model_digest="m"), 0.0, b"")
    first = member(database, "first")
    for _ in range(3):
        first.beat()
    with database.reading() as connection:
        assert connection.execute(select(SERVER.c.beats)).scalar_one() == 4
