"""When the alarm is raised, what silences it, and that silence, lag and trouble are said."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, insert, select

from tests.verifier.server.running import KEY, Clock, Log, Server, honest, server_in, stolen
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.alerting.conditions import SHOWN, leading_evidence
from weightwarden.verifier.server.alerting.delivery_queue import STUCK_ATTEMPTS
from weightwarden.verifier.server.alerting.incidents import (
    AlreadyAcknowledged,
    NoSuchIncident,
    acknowledge,
    in_force,
    state_of,
)
from weightwarden.verifier.server.audit.task_queue import MAX_ATTEMPTS, lease, put_off
from weightwarden.verifier.server.database.schema import DELIVERY, INCIDENT, QUARANTINE
from weightwarden.verifier.statistics.rounding import upper
from weightwarden.verifier.verification.series_monitor import LOG_RATIO, WATCHED, SeriesMonitor

RECORDS = honest(12)
STOLEN = [stolen(record) for record in RECORDS]
QUIET = ("inconclusive", "clear")
"""States without an incident in force; the limit of the series tells which."""


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    return server_in(tmp_path, replayer, bundled_policy)


@pytest.fixture
def log(tmp_path: Path, server: Server) -> Log:
    return Log(tmp_path / "archives")


def state(server: Server) -> str:
    with server.opened.database.reading() as connection:
        forced = connection.execute(select(INCIDENT).where(in_force())).mappings().all()
        return state_of(forced, conclusive=server.opened.exposure.conclusive(connection, server.clock()))


def incidents(server: Server, kind: str) -> Sequence[Any]:
    with server.opened.database.reading() as connection:
        return connection.execute(select(INCIDENT).where(INCIDENT.c.kind == kind).order_by(INCIDENT.c.id)).all()


def acknowledged(server: Server, number: int) -> None:
    """As the API does it."""
    with server.opened.database.writing() as connection:
        row = acknowledge(connection, number, "an operator", "a kernel was changed", server.clock())
        if row["kind"] == "monitor" and row["level"] == "alarm":
            server.opened.bookkeeper.restart_monitor(connection, row["subject"])


def test_honest_traffic_is_no_incident_and_stolen_bytes_are_an_alarm(server: Server, log: Log) -> None:
    log.seal(RECORDS[:6])
    server.settle()
    assert state(server) in QUIET
    log.seal(STOLEN[6:10])
    server.settle()
    assert state(server) == "alarm"
    [incident] = incidents(server, "monitor")
    assert "4 of 10 audited records are flagged" in incident.what
    assert "that an honest series ever shows as much" in incident.what


def test_the_incident_names_the_test_or_the_rate_with_the_most_evidence(bundled_policy: Policy) -> None:
    def monitor(*, log_ratio: float = 0.0, **rates: float) -> SeriesMonitor:
        """Fifty records of 12 tokens with so much of each a token, and ln e-values in the conditional test."""
        watched = SeriesMonitor.new(bundled_policy, np.log2(49_152), 12)
        names = ("tokens", *WATCHED)
        columns = {name: np.full(50, 12 * {"tokens": 1.0, **rates}.get(name, 0.0)) for name in names}
        watched.add(columns | {LOG_RATIO: np.full((50, watched.conditional.bets), log_ratio)})
        return watched

    assert leading_evidence(monitor(log_ratio=1.0)) == "the conditional test"
    allowed = upper(bundled_policy.honest_rates.flagged, 3)
    seen = leading_evidence(monitor(flagged=1 / 24))
    assert seen == f"flagged records, 0.5 a record where the policy allows {allowed}"


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
    assert state(server) in QUIET
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
    assert state(server) in QUIET
    server.clock.now += 2
    server.settle()
    assert state(server) == "stale"
    log.seal(RECORDS[:2])
    server.settle()
    assert state(server) in QUIET
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


def test_a_gap_that_shrinks_is_no_new_one(server: Server, log: Log, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    part = log.seal(RECORDS[:2], elsewhere)
    log.skip(RECORDS[2:4])
    log.seal(RECORDS[4:5])
    server.settle()
    server.clock.now += 5000
    part.rename(log.folder / part.name)
    server.settle()
    assert state(server) == "watch"
    server.clock.now += 5000
    log.seal(RECORDS[5:6])
    server.settle()
    assert state(server) == "alarm"  # records 2 and 3 are missing for 10,000 seconds


def test_an_archive_that_cannot_be_verified_is_watched_and_an_alarm_when_it_lasts(server: Server, log: Log) -> None:
    log.seal([Record.model_validate(RECORDS[0].model_dump() | {"prompt_token_ids": [1, 60_000]})])
    log.seal(RECORDS[2:4])
    server.settle()
    assert state(server) == "watch"
    server.clock.now += 7201
    log.seal(RECORDS[4:5])
    server.settle()
    assert state(server) == "alarm"
    assert [one.level for one in incidents(server, "model")] == ["watch", "alarm"]


def test_one_log_that_goes_on_does_not_hide_anothers_silence(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    other = SigningKey("example.org/other", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    server_in(tmp_path, replayer, bundled_policy)  # the keys
    (tmp_path / "log.pub").write_text(f"{KEY.verifier}\n{other.verifier}\n")
    server = server_in(tmp_path, replayer, bundled_policy, database=str(tmp_path / "two.db"))
    goes_on, falls_silent = Log(tmp_path / "archives"), Log(tmp_path / "archives" / "other", other)
    falls_silent.folder.mkdir()
    path = falls_silent.seal(RECORDS[:2])
    path.rename(tmp_path / "archives" / "other.parquet")
    goes_on.seal(RECORDS[2:4])
    server.settle()
    assert state(server) in QUIET
    server.clock.now += 7201
    goes_on.seal(RECORDS[4:6])
    server.settle()
    assert state(server) == "stale"
    assert [one.subject for one in incidents(server, "stale")] == ["example.org/other"]


def test_an_ended_log_whose_folder_is_no_longer_followed_is_not_waited_for(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    """A log that was replaced by a new one, in a folder of its own."""
    other = SigningKey("example.org/new", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    first = server_in(tmp_path, replayer, bundled_policy)
    (tmp_path / "log.pub").write_text(f"{KEY.verifier}\n{other.verifier}\n")
    Log(tmp_path / "archives").seal(RECORDS[:2])
    first.settle()
    (tmp_path / "new").mkdir()
    new = Log(tmp_path / "new", other)
    new.seal(RECORDS[2:4])
    first.opened.membership.leave()
    both = (f"{tmp_path / 'archives'}/", str(tmp_path / "new"))
    first.clock.now += 7201
    for folders, silent in ((both, ["example.org/log"]), (both[1:], [])):
        server = server_in(tmp_path, replayer, bundled_policy, first.clock, archives=folders)
        server.settle()
        assert [one.subject for one in incidents(server, "stale") if one.ended is None] == silent
        server.opened.membership.leave()
    first.clock.now += 7201  # where no log is waited for by name, silence is still told
    server = server_in(tmp_path, replayer, bundled_policy, first.clock, archives=(str(tmp_path),))
    server.settle()
    assert [one.subject for one in incidents(server, "stale") if one.ended is None] == ["any log"]


def test_flagged_records_behind_one_without_a_verdict_are_an_alarm(server: Server, log: Log) -> None:
    log.seal([RECORDS[0], *STOLEN[1:6]])
    server.opened.follower.look()
    membership = server.opened.membership
    [first] = lease(membership, 1, 1)
    # The first record cannot be replayed now, nor for minutes: a slow machine takes long for the others.
    put_off(membership, replace(first, attempts=MAX_ATTEMPTS - 1))
    while server.opened.auditor.work():
        pass
    server.opened.bookkeeper.account()
    server.clock.now += 3601
    server.opened.watch.look()
    [incident] = incidents(server, "unaccounted")
    assert incident.what.startswith("5 flagged records are not in the evidence yet")
    assert incident.level == "alarm"


def test_incidents_are_told_on_the_channels_of_all_servers(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, server: Server
) -> None:
    speaking = server_in(tmp_path, replayer, bundled_policy, server.clock, command=("/bin/true",))
    server.opened.membership.beat(trouble="something")
    server.opened.watch.look()  # by the one without a channel
    assert speaking.opened.notifier.deliver()
    assert not speaking.opened.notifier.deliver()


def test_falling_behind_is_said(server: Server, log: Log) -> None:
    log.seal(RECORDS[:2])
    server.opened.follower.look()
    server.clock.now += 3601
    server.opened.watch.look()
    [incident] = incidents(server, "behind")
    assert "1.0 hours behind" in incident.what
    assert state(server) == "watch"
    server.settle()
    assert state(server) in QUIET


def test_the_trouble_of_a_living_server_is_said(server: Server) -> None:
    server.opened.membership.beat(trouble="the replay server is gone")
    server.opened.watch.look()
    assert incidents(server, "trouble")[0].what == "the replay server is gone"
    server.opened.membership.beat()
    server.opened.watch.look()
    assert state(server) in QUIET


def test_much_in_quarantine_makes_few_incidents_and_more_of_it_another(server: Server) -> None:
    def fill(count: int) -> None:
        row = {"kind": "gap", "place": "p", "what": "w", "since": server.clock.now, "origin": "o"}
        with server.opened.database.writing() as connection:
            there = connection.execute(select(func.count()).select_from(QUARANTINE)).scalar_one()
            rows = [row | {"start": start, "end": start + 1} for start in range(there, there + count)]
            connection.execute(insert(QUARANTINE), rows)
        server.opened.watch.look()

    def told() -> int:
        with server.opened.database.reading() as connection:
            counts = INCIDENT.c.subject.like("%doubled%")
            return int(connection.execute(select(func.count()).where(counts)).scalar_one())

    fill(20)
    assert len(incidents(server, "gap")) == 20
    fill(10)
    assert "10 more in quarantine" in [one.what for one in incidents(server, "gap")][-1]
    assert told() == 1
    fill(1)
    assert told() == 1
    fill(100)
    assert told() == 2
    lasting = [one for one in incidents(server, "gap") if one.ended is None]
    assert len(lasting) == SHOWN + 1


def test_notices_that_nobody_takes_are_themselves_an_incident(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, command=("/bin/false",))
    server.opened.membership.beat(trouble="something")
    server.opened.watch.look()
    row = {"incident": 1, "channel": "command", "body": "{}", "attempts": STUCK_ATTEMPTS, "due": 0.0}
    with server.opened.database.writing() as connection:
        connection.execute(insert(DELIVERY).values(**row))
    server.opened.watch.look()
    assert incidents(server, "delivery")[0].what == "1 notices cannot be delivered"


@pytest.mark.parametrize("back", [10_000, 365 * 86_400])
def test_a_clock_that_is_moved_back_hides_no_silence_no_lag_and_no_lasting_gap(
    server: Server, log: Log, back: float
) -> None:
    log.seal(RECORDS[:2])
    server.settle()
    log.skip(RECORDS[2:3])
    log.seal(RECORDS[3:4])
    server.opened.follower.look()  # one that waits for its audit
    server.opened.watch.look()
    server.clock.now -= back
    server.opened.watch.look()
    assert incidents(server, "stale") == incidents(server, "behind") == []
    server.clock.now += 7201
    server.opened.watch.look()
    assert state(server) == "alarm"
    assert [one.level for one in incidents(server, "gap")] == ["watch", "alarm"]
    assert incidents(server, "stale")
    assert incidents(server, "behind")


def test_a_clock_that_is_moved_back_raises_nothing(server: Server, log: Log) -> None:
    log.seal(RECORDS[:2])
    server.settle()
    server.clock.now -= 10_000
    server.settle()
    assert state(server) in QUIET
    assert Clock().now > server.clock.now
