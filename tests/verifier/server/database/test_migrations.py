"""A database of an earlier version is upgraded where it lies, and keeps what it holds."""

from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, insert, select

from tests.verifier.server.running import Clock
from weightwarden.verifier.server.alerting.incident_kinds import KINDS
from weightwarden.verifier.server.alerting.incidents import Condition, reconcile
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.schema import EVIDENCE, INCIDENT, METADATA, SERIES, SERVER, TASK, VERDICT
from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE, VerdictDatabase

INCIDENTS = [
    ("monitor", "series 0", "alarm", "p <= 1e-5"),
    ("quarantine", "archive 1", "alarm", "seal: /a/b.parquet: changed"),
    ("quarantine", "archive 2", "watch", "model: /a/c.parquet: model: x, not y"),
    ("quarantine", "model, doubled 3 times", "watch", "model: 7 more in quarantine"),
    ("gap", "example.org/log from 7", "watch", "gap: /a/d.parquet: records 7 to 9 of example.org/log"),
    ("gap", "gap, doubled 2 times", "watch", "gap: 3 more in quarantine"),
    ("stale", "example.org/log", "stale", "gap: no kind, only such words"),
]
ACKNOWLEDGED = {"acknowledged": 6.0, "acknowledged_by": "Ada", "reason": "a test"}


def of_version(url: str, revision: str) -> Any:
    """An engine on a new database of a version, with something in every table that changed since."""
    engine = VERDICT_DATABASE.make_engine(VERDICT_DATABASE.parse_url(url), create=True)
    config = Config()
    config.set_main_option("script_location", str(VERDICT_DATABASE.migrations))
    config.set_main_option("path_separator", "os")
    with engine.connect() as connection:
        config.attributes["connection"] = connection.execution_options(writes=True)
        command.upgrade(config, revision)
        connection.commit()
    return engine


@pytest.fixture
def first_version(database_url: str) -> str:
    engine = of_version(database_url, "0001")
    tables = MetaData()
    tables.reflect(engine)
    series = {"id": 1, "since": 1.0, "policy_digest": "p", "model_digest": "m", "next_position": 3, "accounted": 2}
    archive = {"id": 1, "url": "u", "folder": "f", "fingerprint": "", "tries": 0, "state": "auditing", "found": 0.0}
    counts = dict.fromkeys(("tokens", "mismatches", "suspicious", "dangerous", "outliers"), 1)
    bits = dict.fromkeys(("at", "p_value", "counting_bits", "pooled_bits", "end_bits"), 0.5)
    verdict = {"archive": 1, "early_stop": False, "margins": b"m", **counts, **bits}
    server = {"name": "before", "seen": 5.0, "expires": 4e9, "channels": "[]"}
    task = {"position": 2, "archive": 1, "index": 2, "cost": 1, "tokens": 1, "payload": b"r", "owner": "before"}
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        rows: dict[str, list[dict[str, Any]]] = {
            "series": [series | {"accounts": b"a", "credit": 0.0, "credit_at": 0.0}],
            "archive": [archive],
            "verdict": [
                verdict
                | {"position": at, "index": at, "flagged": at == 1, "unverifiable": at == 1, "evidence": at == 1}
                for at in range(2)
            ],
            "evidence": [{"position": 1, "payload": b"p", "tokens": b"t"}],
            "task": [task | {"attempts": 1, "due": 0.0}],
            "server": [server],
            "incident": [
                dict(zip(("kind", "subject", "level", "what"), one, strict=True), id=at, opened=3.0) | more
                for at, (one, more) in enumerate(zip(INCIDENTS, [{}, ACKNOWLEDGED, *[{}] * 5], strict=True), 1)
            ],
        }
        for name, values in rows.items():
            for row in values:
                connection.execute(insert(tables.tables[name]).values(**row))
    return database_url


def test_a_database_of_the_first_version_keeps_its_content(first_version: str) -> None:
    database = VerdictDatabase(first_version)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        series = connection.execute(select(SERIES)).mappings().one()
        assert (series["accounted"], series["retained_from"], series["accounts"]) == (2, 0, b"a")
        verdicts = connection.execute(select(VERDICT.c.position, VERDICT.c.flagged).order_by(VERDICT.c.position)).all()
        assert [tuple(row) for row in verdicts] == [(0, False), (1, True)]
        assert connection.execute(select(EVIDENCE.c.payload)).scalar_one() == b"p"
        rows = connection.execute(select(INCIDENT).order_by(INCIDENT.c.id)).mappings().all()
    assert [(row["kind"], row["subject"], row["what"]) for row in rows] == [
        ("monitor", "series 0", "p <= 1e-5"),
        ("seal", "archive 1", "/a/b.parquet: changed"),
        ("model", "archive 2", "/a/c.parquet: model: x, not y"),
        ("model", "doubled 3 times", "7 more in quarantine"),
        ("gap", "example.org/log from 7", "/a/d.parquet: records 7 to 9 of example.org/log"),
        ("gap", "doubled 2 times", "3 more in quarantine"),
        ("stale", "example.org/log", "gap: no kind, only such words"),
    ]
    assert all(row["kind"] in KINDS for row in rows)
    assert {name: rows[1][name] for name in ACKNOWLEDGED} == ACKNOWLEDGED


def test_an_acknowledged_incident_is_not_reported_again_by_the_new_version(first_version: str) -> None:
    with VerdictDatabase(first_version).writing() as connection:
        present = Condition("seal", "archive 1", "alarm", "/a/b.parquet: changed")
        changes = reconcile(connection, [present], 9.0)
        assert "opened" not in {one.change for one in changes}


def test_what_a_server_of_the_first_version_held_is_taken_over_after_its_time(first_version: str) -> None:
    database, monotonic = VerdictDatabase(first_version), Clock(0.0)
    new = Membership(database=database, name="new", takeover_seconds=30.0, monotonic=monotonic)
    with database.reading() as connection:
        assert new.living(connection) == ["before"]
        monotonic.now = 30.0
        assert new.living(connection) == []
        assert connection.execute(select(SERVER.c.beats)).scalar_one() == 0
        assert connection.execute(select(TASK.c.owner)).scalar_one() == "before"
