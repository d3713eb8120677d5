"""Retention: what is old goes, and what accounts, alarms and flagged records need stays, whatever ends in between."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from tests.verifier.server.running import Clock, Log, Server, honest, server_in, stolen
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.accounting import retention
from weightwarden.verifier.server.accounting.current import current_accounts
from weightwarden.verifier.server.accounting.rate_points import RateFigures
from weightwarden.verifier.server.alerting.incidents import acknowledge
from weightwarden.verifier.server.api.queries import verdict_page
from weightwarden.verifier.server.api.records import record_view
from weightwarden.verifier.server.audit.task_queue import lease, put_off
from weightwarden.verifier.server.database.schema import DELIVERY, EVIDENCE, INCIDENT, RATE_POINT, SERIES, VERDICT
from weightwarden.verifier.server.errors import VerdictsUnusable

DAY = 86_400.0
RECORDS = honest(12)
SLIGHT = stolen(RECORDS[3])
"""One flagged record among twelve, which is no alarm."""

Make = Callable[..., Server]


@pytest.fixture
def make(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, database_url: str) -> Make:
    """Servers on one database, each with a clock."""

    def made(**settings: Any) -> Server:
        given = {"database": database_url, "retain_days": 30.0, "max_lag": 1e9} | settings
        return server_in(tmp_path, replayer, bundled_policy, Clock(), **given)

    return made


def kept(server: Server) -> list[int]:
    with server.opened.database.reading() as connection:
        return list(connection.execute(select(VERDICT.c.position).order_by(VERDICT.c.position)).scalars())


def evidence(server: Server) -> list[int]:
    with server.opened.database.reading() as connection:
        return list(connection.execute(select(EVIDENCE.c.position).order_by(EVIDENCE.c.position)).scalars())


def remove_all(server: Server) -> None:
    while server.opened.retention.remove():
        pass


def test_old_verdicts_go_and_flagged_ones_and_all_sums_stay(make: Make, tmp_path: Path) -> None:
    server = make()
    log = Log(tmp_path / "archives")
    log.seal([*RECORDS[:3], SLIGHT, *RECORDS[4:6]])
    server.settle()
    with server.opened.database.writing() as connection:  # as if one that is not flagged had a suspicious token
        connection.execute(update(VERDICT).where(VERDICT.c.position == 1).values(evidence=True))
        payload = connection.execute(select(EVIDENCE.c.payload, EVIDENCE.c.tokens).limit(1)).one()
        connection.execute(insert(EVIDENCE).values(position=1, payload=payload.payload, tokens=payload.tokens))
        connection.execute(update(VERDICT).where(VERDICT.c.position == 2).values(unverifiable=True))
    server.clock.now += 29 * DAY
    remove_all(server)
    assert kept(server) == list(range(6))
    log.seal(RECORDS[6:8])
    server.settle()
    with server.opened.database.reading() as connection:
        before = current_accounts(connection).to_bytes()
    server.clock.now += 2 * DAY
    remove_all(server)
    assert kept(server) == [2, 3, 6, 7]
    assert evidence(server) == [3]
    assert server.events("removed") == [server.events("removed")[0] | {"verdicts": 4}]
    with server.opened.database.reading() as connection:
        assert current_accounts(connection).to_bytes() == before
        shown = verdict_page(
            connection, flagged=False, unverifiable=False, archive=None, before=None, limit=9, with_text=False
        )
        assert [one.position for one in shown] == [7, 6, 3, 2]
        assert record_view(server.opened, connection, 0) is None
        flagged = record_view(server.opened, connection, 3)
        assert flagged is not None
        assert len(flagged.tokens) == 8
    log.seal(RECORDS[8:10])
    server.settle()
    with server.opened.database.reading() as connection:
        assert current_accounts(connection).totals["records"] == 10
    remove_all(server)
    assert kept(server) == [2, 3, 6, 7, 8, 9]


def test_for_ever_is_the_default(make: Make, tmp_path: Path) -> None:
    server = make(retain_days=None)
    Log(tmp_path / "archives").seal(RECORDS[:2])
    server.settle()
    server.clock.now += 10_000 * DAY
    remove_all(server)
    assert kept(server) == [0, 1]


def test_a_verdict_that_the_accounts_do_not_include_stays(make: Make, tmp_path: Path) -> None:
    server = make()
    Log(tmp_path / "archives").seal(RECORDS[:4])
    server.opened.follower.look()
    [first] = lease(server.opened.membership, 1, 1)
    put_off(server.opened.membership, first)
    while server.opened.auditor.work():
        pass
    server.opened.bookkeeper.account()
    server.clock.now += 31 * DAY
    remove_all(server)
    assert kept(server) == [1, 2, 3]


def test_nothing_goes_while_an_alarm_by_evidence_waits_for_its_acknowledgement(make: Make, tmp_path: Path) -> None:
    server = make()
    Log(tmp_path / "archives").seal([*RECORDS[:4], *(stolen(record) for record in RECORDS[4:8])])
    server.settle()
    server.clock.now += 31 * DAY
    remove_all(server)
    assert kept(server) == list(range(8))
    with server.opened.database.writing() as connection:
        [number] = connection.execute(select(INCIDENT.c.id).where(INCIDENT.c.kind == "monitor")).scalars()
        acknowledge(connection, number, "Ada", "an exercise", server.clock())
    remove_all(server)
    assert kept(server) == [4, 5, 6, 7]


def test_a_crash_in_between_removes_nothing_or_a_whole_page(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    server = make()
    Log(tmp_path / "archives").seal(RECORDS[:5])
    server.settle()
    server.clock.now += 31 * DAY

    def broken(*_: Any, **__: Any) -> None:
        raise VerdictsUnusable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(retention, "set_series", broken)
        with pytest.raises(VerdictsUnusable):
            server.opened.retention.remove()
    assert kept(server) == list(range(5))
    assert server.opened.retention.remove()
    assert kept(server) == [2, 3, 4]
    remove_all(server)
    assert kept(server) == []
    with server.opened.database.reading() as connection:
        assert connection.execute(select(SERIES.c.retained_from)).scalar_one() == 5


def test_several_servers_that_remove_at_once_remove_the_same(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 1)
    servers = [make() for _ in range(3)]
    Log(tmp_path / "archives").seal([*RECORDS[:3], SLIGHT, *RECORDS[4:]])
    servers[0].settle()
    errors: list[BaseException] = []

    def work(server: Server) -> None:
        server.clock.now += 31 * DAY
        try:
            remove_all(server)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    remove_all(servers[0])
    assert errors == []
    assert kept(servers[0]) == [3]
    assert sum(event["verdicts"] for server in servers for event in server.events("removed")) == 11


def test_charts_keep_a_point_an_hour_and_notices_wait_for_their_receiver(make: Make) -> None:
    server = make()
    start = server.clock.now - server.clock.now % 3600
    figures = RateFigures(totals={}, limits={}, log10_capital=0.0, series={}).to_json()
    with server.opened.database.writing() as connection:
        minutes = range(180)
        rows = [{"at": start + 60.0 * minute + 1, "figures": figures} for minute in minutes]
        connection.execute(insert(RATE_POINT), rows)
        incident = {"id": 1, "kind": "stale", "subject": "s", "level": "stale", "what": "w", "opened": start}
        connection.execute(insert(INCIDENT).values(**incident))
        notice = {"incident": 1, "channel": "command", "body": "{}", "attempts": 3, "due": start}
        connection.execute(insert(DELIVERY), [notice | {"done": done} for done in (start, None)])
    server.clock.now = start + 30 * DAY + 7200
    remove_all(server)
    with server.opened.database.reading() as connection:
        at = list(connection.execute(select(RATE_POINT.c.at).order_by(RATE_POINT.c.at)).scalars())
        waiting = connection.execute(select(func.count()).select_from(DELIVERY)).scalar_one()
    assert at == [start + 60 * minute + 1 for minute in (59, *range(119, 180))]
    assert waiting == 1
