"""Compaction of a log's SQLite file: it is rewritten without free space, and can shrink from then on."""

from pathlib import Path

from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogUnreadable
from weightwarden.logger.store.lock import LogLock
from weightwarden.logger.store.turn import write_turn


def compact(url: str) -> tuple[int, int]:
    """The size of the file before and after its compaction, bytes. Nothing may append or seal meanwhile.

    Raises:
        LogLocked: another process appends to the log, or seals it.
        LogUnreadable: the log is not in SQLite, or cannot be written (the disk needs room for a second copy).
    """
    parsed = LOG_DATABASE.parse_url(url)
    if parsed.drivername != "sqlite":
        raise LogUnreadable("PostgreSQL reclaims space by itself (autovacuum; VACUUM FULL returns it to the disk)")
    path = Path(str(parsed.database))
    engine = LOG_DATABASE.make_engine(parsed)
    locks = LogLock(parsed, "append"), LogLock(parsed, "seal")
    with LOG_DATABASE.failures_named(parsed), engine.connect() as connection:
        try:
            for lock in locks:
                lock.acquire(connection)
            before = path.stat().st_size
            with write_turn(parsed):
                driver = connection.connection.cursor()
                for statement in ("PRAGMA auto_vacuum=INCREMENTAL", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    driver.execute(statement)
                    driver.fetchall()
            return before, path.stat().st_size
        finally:
            for lock in locks:
                lock.release()
