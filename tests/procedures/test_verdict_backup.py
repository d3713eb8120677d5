"""A backup of the verdict database, made while its server works, and its restoration."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.postgresql import binaries, new_database
from tests.verifier.server.running import Log, Server, honest, server_in
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.server.accounting.accounts import Accounts
from weightwarden.verifier.server.database.schema import ARCHIVE, QUARANTINE, SERIES, VERDICT

pytestmark = pytest.mark.slow

RECORDS = honest(9, tokens=4)
COUNTS = ("tokens", "mismatches", "dangerous", "flagged")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "verdicts.db")
    return new_database(request.getfixturevalue("postgresql"))


def back_up(database: str, backup: Path) -> None:
    """As docs/maintenance.md does it."""
    if database.startswith("postgresql"):
        programs = binaries()
        assert programs is not None
        command: Sequence[object] = (programs / "pg_dump", "--format=custom", f"--file={backup}", database)
    else:
        source = f"file:{database}?mode=ro"
        code = f"import sqlite3; sqlite3.connect({source!r}, uri=True).execute('VACUUM INTO ?', [{str(backup)!r}])"
        command = (sys.executable, "-c", code)
    subprocess.run([str(part) for part in command], check=True, preexec_fn=lambda: os.umask(0o077))


def restored(database: str, backup: Path, postgresql: str | None) -> str:
    """The database that the backup becomes, after the first one was lost."""
    if postgresql is not None:
        programs, new = binaries(), new_database(postgresql)
        assert programs is not None
        subprocess.run([str(programs / "pg_restore"), "--no-owner", f"--dbname={new}", str(backup)], check=True)
        return new
    for end in ("", "-wal", "-shm"):
        Path(f"{database}{end}").unlink(missing_ok=True)
    shutil.copyfile(backup, database)
    return database


def verdicts(server: Server) -> dict[tuple[str, int], tuple[Any, ...]]:
    """What is stored of each record, by its archive's URL and its index; positions have no gap."""
    with server.opened.database.reading() as connection:
        urls = {row.id: row.url for row in connection.execute(select(ARCHIVE.c.id, ARCHIVE.c.url))}
        rows = connection.execute(select(VERDICT).order_by(VERDICT.c.position)).mappings().all()
    assert [row["position"] for row in rows] == list(range(len(rows)))
    found = {(urls[row["archive"]], row["index"]): tuple(row[name] for name in COUNTS) for row in rows}
    assert len(found) == len(rows)
    return found


def totals(server: Server) -> dict[str, float]:
    with server.opened.database.reading() as connection:
        return Accounts.from_bytes(connection.execute(select(SERIES.c.accounts)).scalar_one()).totals


def test_a_server_goes_on_from_a_backup_and_every_record_has_one_verdict(
    tmp_path: Path,
    database: str,
    replayer: Replayer,
    bundled_policy: BasePolicy,
    request: pytest.FixtureRequest,
) -> None:
    on_postgresql = request.getfixturevalue("postgresql") if database.startswith("postgresql") else None
    options: dict[str, Any] = {"batch_records": 2, "lease_timeout": 0.1}
    log, backup = Log(tmp_path / "archives"), tmp_path / "verdicts.backup"
    first = server_in(tmp_path, replayer, bundled_policy, database=database, **options)
    log.seal(RECORDS[:3])
    first.settle()
    log.seal(RECORDS[3:6])
    first.opened.follower.look()
    assert first.opened.auditor.work()  # some have a verdict, others wait for one
    assert len(verdicts(first)) == 5
    back_up(database, backup)
    if on_postgresql is None:
        assert backup.stat().st_mode & 0o077 == 0
    first.settle()
    log.seal(RECORDS[6:])
    first.settle()
    before, accounted = verdicts(first), totals(first)
    assert len(before) == 9
    del first

    again = server_in(tmp_path, replayer, bundled_policy, database=restored(database, backup, on_postgresql), **options)
    assert len(verdicts(again)) == 5
    for archive in (tmp_path / "archives").iterdir():
        os.utime(archive)  # restored from a copy, too: the same bytes at another time
    deadline = time.monotonic() + 60
    while len(verdicts(again)) < 9:  # once the lease of the first server has lapsed
        assert time.monotonic() < deadline
        again.settle()
    assert verdicts(again) == before
    assert totals(again) == pytest.approx(accounted)
    with again.opened.database.reading() as connection:
        assert connection.execute(select(QUARANTINE)).all() == []
