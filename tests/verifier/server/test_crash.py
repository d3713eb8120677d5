"""SIGKILL at any moment: every verdict once, and the accounts are those of a server that was never interrupted."""

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.postgresql import new_database
from tests.recorded import FILTERED, records_of
from tests.verifier.server.process import Process, once, started
from tests.verifier.server.running import Log, settings_in, shortened, stolen
from weightwarden.verifier.server.accounting.accounts import Accounts
from weightwarden.verifier.server.database.schema import ARCHIVE, SERIES, TASK, VERDICT
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase

pytestmark = pytest.mark.slow

KILLS = 20
COUNTS = ("tokens", "mismatches", "suspicious", "dangerous", "flagged", "unverifiable", "early_stop")
RECORDS = [shortened(record, tokens) for tokens in (6, 8) for record in records_of(FILTERED)]
RECORDS[100:110] = [stolen(record) for record in RECORDS[100:110]]


def verdicts(database: VerdictDatabase) -> dict[tuple[str, int], dict[str, Any]]:
    """What is said of each record, by its archive's name and its index."""
    with database.reading() as connection:
        names = {row.id: Path(row.url).name for row in connection.execute(select(ARCHIVE.c.id, ARCHIVE.c.url))}
        rows = connection.execute(select(VERDICT).order_by(VERDICT.c.position)).mappings().all()
    assert [row["position"] for row in rows] == list(range(len(rows)))
    found = {(names[row["archive"]], row["index"]): {name: row[name] for name in COUNTS} for row in rows}
    assert len(found) == len(rows)
    return found


def totals(database: VerdictDatabase) -> dict[str, float]:
    with database.reading() as connection:
        return Accounts.from_bytes(connection.execute(select(SERIES.c.accounts)).scalar_one()).totals


def left(database: VerdictDatabase) -> int:
    """Records that wait for a verdict, or to be accounted for."""
    with database.reading() as connection:
        series = connection.execute(select(SERIES.c.next_position, SERIES.c.accounted)).one()
        waiting = connection.execute(select(func.count()).select_from(TASK)).scalar_one()
    return int(waiting + series.next_position - series.accounted)


def test_two_servers_that_are_killed_twenty_times_do_what_one_does_that_is_not(
    tmp_path: Path, postgresql: str, model_folder: Path
) -> None:
    settings_in(tmp_path)
    log = Log(tmp_path / "archives")
    parts = [RECORDS[at : at + 30] for at in range(0, len(RECORDS), 30)]
    log.seal(parts[0])
    url = new_database(postgresql)
    options = ("--audit-rate", 1, "--batch-records", 4, "--lease-timeout", 3, "--poll-interval", 0.3)
    rng = random.Random(7)
    servers: list[Process] = [started(tmp_path, url, f"first-{at}", *options) for at in range(2)]
    killed = working = 0
    try:
        for number in range(KILLS):
            victim = servers[number % 2]
            victim.wait_for("audited")
            if parts[1:] and number % 2 == 0:
                log.seal(parts.pop(1))
            # Beyond the next work on a slow machine, too: a record is blamed by five servers that ended with it.
            time.sleep(rng.uniform(0.0, max(0.8, 1.5 * victim.events("audited")[-1]["seconds"])))
            assert victim.stop(signal.SIGKILL) == -signal.SIGKILL
            killed += 1
            working += left(VerdictDatabase(url)) > 0
            servers[number % 2] = started(tmp_path, url, f"life-{number}", *options)
        for part in parts[1:]:
            log.seal(part)
        database = VerdictDatabase(url)
        deadline = time.monotonic() + 600
        while len(totals(database)) == 0 or totals(database)["records"] < len(RECORDS):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        for server in servers:
            server.wait_for("opened")
            assert server.stop(signal.SIGTERM) == 0, server.said.read_text()
    finally:
        for server in servers:
            server.process.kill()
    assert left(database) == 0
    assert once(tmp_path, str(tmp_path / "uninterrupted.db"), "--audit-rate", 1) == 1  # ten were tampered with
    whole = VerdictDatabase(str(tmp_path / "uninterrupted.db"))
    assert verdicts(database) == verdicts(whole)
    assert totals(database) == pytest.approx(totals(whole), rel=1e-4)
    print(f"{killed} kills, {working} of them with work left; {len(RECORDS)} records, each with one verdict")
    assert working >= KILLS // 2


def test_told_to_stop_a_server_gives_back_what_it_holds(tmp_path: Path, model_folder: Path) -> None:
    settings_in(tmp_path)
    Log(tmp_path / "archives").seal(RECORDS[:60])
    url = str(tmp_path / "verdicts.db")
    server = started(tmp_path, url, "server", "--audit-rate", 1, "--batch-records", 4)
    server.wait_for("audited")
    assert server.stop(signal.SIGTERM) == 0, server.said.read_text()
    assert server.events("stopped")
    with VerdictDatabase(url).reading() as connection:
        held = connection.execute(select(func.count()).where(TASK.c.owner.is_not(None))).scalar_one()
        tried = connection.execute(select(func.coalesce(func.max(TASK.c.attempts), 0))).scalar_one()
    assert (held, tried) == (0, 0)
