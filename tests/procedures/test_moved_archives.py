"""Archives that aged out to another store, and a verdict database from before that."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.cli.commands.test_run import invoke
from tests.verifier.server.running import Log, Server, honest, server_in
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.server.database.schema import QUARANTINE
from weightwarden.verifier.server.database.usage import verdict_usage

pytestmark = pytest.mark.slow


def in_quarantine(server: Server) -> list[str]:
    with server.opened.database.reading() as connection:
        return list(connection.execute(select(QUARANTINE.c.kind).where(QUARANTINE.c.resolved.is_(None))).scalars())


def test_audited_archives_may_move_and_those_after_a_restored_backup_come_back(
    tmp_path: Path, replayer: Replayer, bundled_policy: BasePolicy
) -> None:
    hot, cold = tmp_path / "archives", tmp_path / "cold"
    cold.mkdir()
    records, database, backup = honest(8, tokens=4), tmp_path / "verdicts.db", tmp_path / "backup.db"
    server = server_in(tmp_path, replayer, bundled_policy)
    log = Log(hot)
    log.seal(records[:2])
    server.settle()
    server.opened.membership.leave()
    shutil.copyfile(database, backup)

    server = server_in(tmp_path, replayer, bundled_policy)
    for at in (2, 4, 6):
        log.seal(records[at : at + 2])
    server.settle()
    assert verdict_usage(str(database)).records == 8
    moved = invoke("log", "move", hot, "--to", cold, "--public-key", tmp_path / "log.pub", "--keep", 1)
    assert moved.exit_code == 0, moved.output
    server.settle()
    assert in_quarantine(server) == []
    server.opened.membership.leave()

    shutil.copyfile(backup, database)
    server = server_in(tmp_path, replayer, bundled_policy)
    server.settle()
    assert in_quarantine(server) == ["gap"]
    for archive in cold.glob("*.parquet"):
        shutil.copy(archive, hot)
    server.settle()
    assert in_quarantine(server) == []
    assert verdict_usage(str(database)).records == 8
