"""When the alarm is raised, what silences it, and that silence, lag and trouble are said."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.verifier.server.running import Clock, Log, Server, honest, server_in, stolen
from verifier.policy import Policy
from verifier.server.deliveries import STUCK_ATTEMPTS
from verifier.server.incidents import AlreadyAcknowledged, NoSuchIncident, acknowledge, in_force, state_of
from verifier.server.schema import DELIVERY, INCIDENT, QUARANTINE
from verifier.transformers_replay import TransformersReplayer

RECORDS = honest(12)
STOLEN = [stolen(record) for record in RECORDS]


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    return server_in(tmp_path, replayer, bundled_policy)


@pytest.fixture
def log(tmp_path: Path, server: Server) -> Log:
    return Log(tmp_path / "archives")


def state(server: Server) -> str:
    with server.opened.database.reading() as connection:
        return state_of(connection.execute(select(INCIDENT).where(in_force())).mappings().all())


def incidents(server: Server, kind: str) -> Sequence[Any]:
    with server.opened.database.reading() as connection:
        return connection.execute(select(INCIDENT).where(INCIDENT.c.kind == kind).order_by(INCIDENT.c.id)).all()


def acknowledged(server: Server, number: int) -> None:
    """As the API does it."""
    with server.opened.database.writing() as connection:
        row = acknowledge(connection, number, "an operator", "a kernel was changed", server.clock())
        if row["kind"] == "monitor" and row["level"] == "alarm":
            server.opened.bookkeeper.restart_monitor(connection, row["subject"])


def test_honest_traffic_is_clear_and_stolen_bytes_are_an_alarm(server: Server, log: Log) -> None:
    log.seal(RECORDS[:6])
    server.settle()
    assert state(server) == "clear"
    log.seal(STOLEN[6:10])
    server.settle()
    assert state(server) == "alarm"
    [incident] = incidents(server, "monitor")
    assert "4 of 10 records flagged" in incident.what


def test_two_flagged_records_are_to_be_watched_and_what_follows_raises_the_alarm(server: Server, log: Log) -> None:
    log.seal([*STOLEN[:2], *RECORDS[2:4]])
    server.settle()
    assert state(server) == "watch"
    log.seal(STOLEN[4:7])
    server.settle()
    assert state(server) == "alarm"
    assert [incident.level for incident in incidents(server, "monitor")] == ["watch", "alarm"]


def test_an_alarm_stays_until_it_is_acknowledged_and_new_evidence_is_a_new_one(server: Server, log: Log) -> None:
    log.seal(STOLEN[:4])
    server.settle()
    log.seal(RECORDS[4:6])
    server.settle()
    assert state(server) == "alarm"
    [incident] = incidents(server, "monitor")
    acknowledged(server, incident.id)
    server.settle()
    assert state(server) == "clear"
    [incident] = incidents(server, "monitor")
    assert (incident.acknowledged_by, incident.reason) == ("an operator", "a kernel was changed")
    log.seal(STOLEN[6:10])
    server.settle()
    assert state(server) == "alarm"
    assert len(incidents(server, "monitor")) == 2


def test_what_was_acknowledged_stays_as_it_was_said(server: Server, log: Log) -> None:
    log.seal(STOLEN[:4])
    server.settle()
    acknowledged(server, 1)
    with pytest.raises(AlreadyAcknowledged, match="an operator"):
        acknowledged(server, 1)
    with pytest.raises(NoSuchIncident):
        acknowledged(server, 99)


def test_silence_is_said_and_ends_with_the_next_archive(server: Server, log: Log) -> None:
    server.clock.now += 7199
    server.settle()
    assert state(server) == "clear"
    server.clock.now += 2
    server.settle()
    assert state(server) == "stale"
    log.seal(RECORDS[:2])
    server.settle()
    assert state(server) == "clear"
    assert incidents(server, "stale")[0].ended == server.clock.now


def test_a_quarantined_archive_does_not_end_the_silence(server: Server, log: Log) -> None:
    server.clock.now += 7300
    log.seal(RECORDS[:2]).write_bytes(b"nonsense")
    server.settle()
    assert incidents(server, "stale")
    assert state(server) == "alarm"  # an archive that no key sealed is worse than silence


def test_a_gap_is_watched_and_an_alarm_when_it_lasts(server: Server, log: Log) -> None:
    log.skip(RECORDS[:2])
    log.seal(RECORDS[2:4])
    server.settle()
    assert state(server) == "watch"
    server.clock.now += 7201
    log.seal(RECORDS[4:5])
    server.settle()
    assert state(server) == "alarm"


def test_falling_behind_is_said(server: Server, log: Log) -> None:
    log.seal(RECORDS[:2])
    server.opened.follower.look()
    server.clock.now += 3601
    server.opened.watch.look()
    [incident] = incidents(server, "behind")
    assert "1.0 hours behind" in incident.what
    assert state(server) == "watch"
    server.settle()
    assert state(server) == "clear"


def test_the_trouble_of_a_living_server_is_said(server: Server) -> None:
    server.opened.presence.beat(trouble="the replay server is gone")
    server.opened.watch.look()
    assert incidents(server, "trouble")[0].what == "the replay server is gone"
    server.opened.presence.beat()
    server.opened.watch.look()
    assert state(server) == "clear"


def test_much_in_quarantine_makes_few_incidents_and_more_of_it_another(server: Server) -> None:
    def fill(count: int) -> None:
        row = {"kind": "seal", "place": "p", "what": "w", "since": server.clock.now}
        with server.opened.database.writing() as connection:
            connection.execute(insert(QUARANTINE), [row] * count)
        server.opened.watch.look()

    fill(30)
    assert len(incidents(server, "quarantine")) == 21
    fill(1)
    assert len(incidents(server, "quarantine")) == 21
    fill(100)
    assert len(incidents(server, "quarantine")) == 22


def test_notices_that_nobody_takes_are_themselves_an_incident(server: Server) -> None:
    server.opened.presence.beat(trouble="something")
    server.opened.watch.look()
    row = {"incident": 1, "channel": "webhook", "body": "{}", "attempts": STUCK_ATTEMPTS, "due": 0.0}
    with server.opened.database.writing() as connection:
        connection.execute(insert(DELIVERY).values(**row))
    server.opened.watch.look()
    assert incidents(server, "delivery")[0].what == "1 notices cannot be delivered"


def test_a_clock_that_is_moved_back_raises_nothing(server: Server, log: Log) -> None:
    log.seal(RECORDS[:2])
    server.settle()
    server.clock.now -= 10_000
    server.settle()
    assert state(server) == "clear"
    assert Clock().now > server.clock.now
