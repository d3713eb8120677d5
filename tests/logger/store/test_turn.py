import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.logger.store.examples import ORIGIN, filled
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogUnreadable
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.turn import write_turn
from weightwarden.logger.store.writer import LogWriter


@pytest.fixture
def log(tmp_path: Path) -> str:
    filled(str(tmp_path / "log.db"), 1)
    return str(tmp_path / "log.db")


def test_a_writer_waits_for_its_turn_and_so_does_who_seals(log: str) -> None:
    with LogWriter.open(log, origin=ORIGIN) as writer, SealBook(log) as book:
        with write_turn(LOG_DATABASE.parse_url(log)):
            appended = writer.append(b"a")
            sealing = threading.Thread(target=book.add_checkpoint, args=(1, b"note"))
            sealing.start()
            with pytest.raises(TimeoutError):
                appended.result(0.3)
            assert sealing.is_alive()
        assert appended.result(60) == 1
        sealing.join(60)
        assert writer.add_checkpoint(1, b"another") == 1


def test_a_turn_that_does_not_end_is_an_error_with_the_logs_name(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightwarden.logger.store.turn.BUSY_SECONDS", 0.05)
    with SealBook(log) as book:
        with write_turn(LOG_DATABASE.parse_url(log)), pytest.raises(LogUnreadable, match=r"log\.db.*does not end"):
            book.add_checkpoint(1, b"note")
        book.add_checkpoint(1, b"note")


def _seal(log: str, numbers: range) -> None:
    for size in numbers:
        with SealBook(log) as book:
            book.add_checkpoint(size, b"note")


def test_a_database_that_is_written_and_sealed_side_by_side_stays_whole(log: str) -> None:
    sealing = multiprocessing.get_context("spawn").Process(target=_seal, args=(log, range(1, 60)))
    sealing.start()
    with LogWriter.open(log, origin=ORIGIN) as writer:
        while sealing.is_alive():
            for future in [writer.append(bytes(5000)) for _ in range(20)]:
                future.result(60)
        size = writer.size
    sealing.join()
    assert sealing.exitcode == 0
    connection = sqlite3.connect(log)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("SELECT COUNT(*) FROM entry").fetchone() == (size,)
    assert connection.execute("SELECT COUNT(*) FROM checkpoint").fetchone() == (59,)
    connection.close()
