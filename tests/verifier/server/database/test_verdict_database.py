"""The tables are those of the schema, and no query of the dashboard reads a large table through."""

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from benchmarks.storage.dashboard import fill, plans
from tests.verifier.server.running import Server, server_in
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.database.schema import METADATA
from weightwarden.verifier.server.database.series import SeriesKey, bind
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase, database_now
from weightwarden.verifier.server.errors import OtherSeries, VerdictsUnusable


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, database_url: str) -> Server:
    return server_in(tmp_path, replayer, bundled_policy, database=database_url)


def test_migrations_make_the_tables_of_the_schema(database_url: str) -> None:
    with VerdictDatabase(database_url).reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_queries_use_indexes(server: Server) -> None:
    database = server.opened.database
    fill(database, 3000, server.clock.now)
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":  # which would rather read small tables through
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.execute(text(f"ALTER DATABASE {name} SET enable_seqscan = off"))
    # SQLite calls it a scan, too, to walk backwards the primary key, or an index of the wanted rows alone.
    newest = ("the newest verdicts", "the newest archives")
    walks = "SCAN verdict USING INDEX verdict_"
    for name, lines in plans(database):
        assert not any("Seq Scan" in line or "TEMP B-TREE" in line or "Sort" in line for line in lines), (name, lines)
        scans = [line for line in lines if line.startswith("SCAN") and not line.startswith(walks)]
        assert name in newest or not scans, (name, lines)


def test_a_database_belongs_to_one_policy_and_one_model(server: Server, bundled_policy: Policy) -> None:
    key = SeriesKey(policy_digest=bundled_policy.digest(), model_digest="sha256:" + "0" * 64)
    with pytest.raises(OtherSeries, match=r"under model sha256:9f66.*a database of its own"):
        bind(server.opened.database, key, 0.0, b"")


def test_servers_that_start_at_once_make_one_database(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, database_url: str
) -> None:
    server_in(tmp_path, replayer, bundled_policy, database=str(tmp_path / "other.db"))  # the keys
    errors: list[BaseException] = []

    def start() -> None:
        try:
            server_in(tmp_path, replayer, bundled_policy, database=database_url)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_clock_is_the_databases(database_url: str) -> None:
    import time

    with VerdictDatabase(database_url).reading() as connection:
        assert abs(database_now(connection) - time.time()) < 5


def test_a_log_is_no_verdict_database(tmp_path: Path) -> None:
    from weightwarden.logger.store.errors import LogUnreadable
    from weightwarden.logger.store.writer import LogWriter

    with LogWriter.open(str(tmp_path / "log.db"), origin="example.org/log"):
        pass
    with pytest.raises(VerdictsUnusable, match="not a verdict database: another kind"):
        VerdictDatabase(str(tmp_path / "log.db"))
    VerdictDatabase(str(tmp_path / "verdicts.db"))
    with pytest.raises(LogUnreadable, match="not a log: another kind"):
        LogWriter.open(str(tmp_path / "verdicts.db"), origin="example.org/log")
    with pytest.raises(VerdictsUnusable, match="verdict database"):
        VerdictDatabase("mysql://x/y")
