from pathlib import Path

import pytest

from tests.logger.store.examples import filled
from weightwarden.logger.store.errors import LogCorrupt, LogUnreadable
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook


def test_a_seal_book_makes_no_log(tmp_path: Path, postgresql: str) -> None:
    (tmp_path / "empty").touch()
    for url in (str(tmp_path / "empty"), str(tmp_path / "missing"), f"{postgresql}/postgres"):
        with pytest.raises(LogUnreadable, match=r"not a log|no log"):
            SealBook(url)
        with pytest.raises(LogUnreadable, match=r"not a log|no log"):
            LogReader(url)


@pytest.mark.parametrize("size", [-1, 0])
def test_a_checkpoint_of_nothing_is_refused(log_url: str, size: int) -> None:
    filled(log_url, 1)
    with SealBook(log_url) as book, pytest.raises(LogCorrupt):
        book.add_checkpoint(size, b"note")
    assert LogReader(log_url).checkpoints() == []


def test_what_was_recorded_is_there_for_another_connection_at_once(log_url: str) -> None:
    filled(log_url, 2)
    with SealBook(log_url) as book:
        book.add_checkpoint(2, b"note")
        assert LogReader(log_url).checkpoints() == [(2, b"note")]
        book.add_archive(0, 2, "a")
        assert LogReader(log_url).archives() == [(0, 2, "a")]


def test_a_sealer_that_lost_its_connection_does_not_seal_without_its_lock(postgresql: str) -> None:
    import psycopg

    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute("CREATE DATABASE sealed")
        url = f"{postgresql}/sealed"
        filled(url, 4)
        with SealBook(url) as first:
            first.add_checkpoint(1, b"a")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'sealed'")
            with SealBook(url) as second:
                for size in (2, 3, 4):
                    with pytest.raises(LogUnreadable):
                        first.add_checkpoint(size, b"b")
                second.add_checkpoint(2, b"c")
        assert LogReader(url).checkpoints() == [(1, b"a"), (2, b"c")]
