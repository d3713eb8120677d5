import shutil
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, archived, certified, checkpoint_at, entry, tree_of
from tests.logger.store.examples import disarmed, raw, raw_sql
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.rollover import RolloverRefused, roll_over
from weightwarden.logger.sealing import seal
from weightwarden.logger.sidecar.log.checkpointer import Checkpointer
from weightwarden.logger.store.errors import LogCorrupt, LogForked, LogLocked, LogWriteError
from weightwarden.logger.store.mark import LogRolledBack, MarkFile
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.tree import MARK_EVERY, RolledOver
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash

ENDS = (13, 20, 31)


def append(url: str, entries: list[bytes]) -> None:
    with LogWriter.open(url, origin=ORIGIN) as writer:
        for future in [writer.append(one) for one in entries]:
            future.result(60)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "archives").mkdir()
    return str(tmp_path / "archives")


def sealed_thrice(url: str, folder: str) -> str:
    """A log of 35 records, of which three archives hold the first 31."""
    for start, end in zip((0, *ENDS), ENDS, strict=False):
        append(url, ENTRIES[start:end])
        seal(url, folder, [KEY])
    append(url, ENTRIES[31:35])
    return url


@pytest.fixture
def log(tmp_path: Path, folder: str) -> str:
    return sealed_thrice(str(tmp_path / "log.db"), folder)


@pytest.fixture
def log_of_each_kind(log_url: str, folder: str) -> str:
    return sealed_thrice(log_url, folder)


def stored(url: str) -> list[int]:
    with raw(url) as connection:
        return list(connection.exec_driver_sql('SELECT "index" FROM entry ORDER BY "index"').scalars())


def test_a_rolled_over_log_goes_on_as_the_same_log(log_of_each_kind: str, folder: str) -> None:
    log = log_of_each_kind
    assert roll_over(log, [folder], KEYS, keep=1).removed == 20
    assert stored(log) == list(range(20, 35))
    reader = LogReader(log)
    assert reader.size() == 35
    assert reader.frontier(35) == tree_of(ENTRIES[:35])
    assert reader.audit(root_of=lambda note: checkpoint_at(int(note.split(b"\n")[1])).root) == tree_of(ENTRIES[:35])
    append(log, ENTRIES[35:])
    assert [(one.start, one.end) for one in seal(log, folder, [KEY])] == [(31, 40)]
    told: list[bytes] = []
    assert check_archives(archive_urls([folder]), KEYS, keep=lambda _, at, one: told.append(one)).holds
    assert told == ENTRIES


def test_it_rolls_over_again_and_to_its_very_end(log: str, folder: str) -> None:
    assert roll_over(log, [folder], KEYS, keep=2).start == 13
    assert roll_over(log, [folder], KEYS, keep=2).removed == 0
    seal(log, folder, [KEY])
    assert roll_over(log, [folder], KEYS, keep=0).start == 35
    assert stored(log) == []
    with LogWriter.open(log, origin=ORIGIN) as writer:
        assert writer.tree == tree_of(ENTRIES[:35])
        assert writer.append(ENTRIES[35]).result(60) == 35
    assert seal(log, folder, [KEY])[0].end == 36


def test_a_writer_and_a_reader_go_on_beside_it(log: str, folder: str) -> None:
    with LogWriter.open(log, origin=ORIGIN) as writer:
        roll_over(log, [folder], KEYS, keep=0)
        assert writer.append(ENTRIES[35]).result(60) == 35
    with pytest.raises(RolledOver, match="entries 0 to 30 are in archives"):
        list(LogReader(log).entries(5, 35))
    with pytest.raises(RolledOver):
        LogReader(log).frontier(30)


def missing(path: Path) -> None:
    path.unlink()


def changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def another_log(path: Path) -> None:
    archived(path, 13, 20, [entry(1000 + number) for number in range(40)])


def another_range(path: Path) -> None:
    archived(path, 13, 21)


def another_key(path: Path) -> None:
    archived(path, 13, 20, key=SigningKey.generate(ORIGIN))


@pytest.mark.parametrize("spoil", [missing, changed, another_log, another_range, another_key])
def test_nothing_leaves_that_an_archive_does_not_hold(log: str, folder: str, spoil: object) -> None:
    spoil(Path(folder) / "000000000013-000000000020.parquet")  # type: ignore[operator]
    with pytest.raises(RolloverRefused, match="000000000013-000000000020"):
        roll_over(log, [folder], KEYS, keep=0)
    assert stored(log) == list(range(35))
    assert LogReader(log).segment_start() == Frontier()


def test_an_archive_is_found_in_any_of_the_folders(log: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / "cold").mkdir()
    shutil.move(Path(folder) / "000000000000-000000000013.parquet", tmp_path / "cold")
    with pytest.raises(RolloverRefused):
        roll_over(log, [folder], KEYS, keep=0)
    assert roll_over(log, [folder, str(tmp_path / "cold")], KEYS, keep=0).start == 31


def test_what_no_auditor_has_seen_stays(log: str, folder: str) -> None:
    assert roll_over(log, [folder], KEYS, keep=0, seen=checkpoint_at(19)).start == 13
    other = checkpoint_at(25, [entry(500 + number) for number in range(40)])
    with pytest.raises(RolloverRefused, match="not one of this log"):
        roll_over(log, [folder], KEYS, keep=0, seen=other)
    assert stored(log)[0] == 13


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@pytest.mark.parametrize("after", [0, 1, 5])
def test_an_interrupted_rollover_is_taken_up_where_it_was(
    log: str, folder: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed once the segment is recorded, and so many pages of records are removed."""
    whole = SealBook.remove_archived
    pages: list[None] = []

    def interrupted(book: SealBook) -> int:
        if len(pages) == after:
            raise Killed
        pages.append(None)
        return whole(book, limit=4)

    with monkeypatch.context() as patched:
        patched.setattr(SealBook, "remove_archived", interrupted)
        with pytest.raises(Killed):
            roll_over(log, [folder], KEYS, keep=1)
    assert stored(log)[0] == 4 * after
    with LogWriter.open(log, origin=ORIGIN) as writer:
        assert writer.append(ENTRIES[35]).result(60) == 35
    assert LogReader(log).audit() == tree_of(ENTRIES[:36])
    assert roll_over(log, [folder], KEYS, keep=1).removed == 20 - 4 * after
    assert stored(log) == list(range(20, 36))


def test_one_process_seals_or_rolls_over(log: str, folder: str) -> None:
    with SealBook(log), pytest.raises(LogLocked):
        roll_over(log, [folder], KEYS, keep=0)


REFUSED = (
    'DELETE FROM entry WHERE "index" = 20',
    'DELETE FROM entry WHERE "index" = 34',
    "DELETE FROM checkpoint",
    "DELETE FROM segment",
    "UPDATE segment SET start = 31",
    "UPDATE entry SET payload = leaf_hash",
)
REFUSED_BY_SQLITE = (
    'INSERT INTO entry SELECT 3, leaf_hash, payload FROM entry WHERE "index" = 20',
    "INSERT INTO segment SELECT 13, frontier FROM segment",
)


def test_the_database_itself_keeps_the_present_segment(log_of_each_kind: str, folder: str) -> None:
    log = log_of_each_kind
    roll_over(log, [folder], KEYS, keep=1)
    for statement in REFUSED if log.startswith("postgresql") else REFUSED + REFUSED_BY_SQLITE:
        with pytest.raises(DBAPIError, match="the log is append-only"):
            raw_sql(log, statement)
    assert LogReader(log).audit() == tree_of(ENTRIES[:35])


def test_what_only_earlier_segments_need_goes_too(tmp_path: Path, folder: str) -> None:
    log = str(tmp_path / "log.db")
    append(log, ENTRIES * (MARK_EVERY // len(ENTRIES) + 1))
    with SealBook(log) as book:
        for size in (7, 4000):
            book.add_checkpoint(size, certified(size, LogReader(log).frontier(size).root()))
    append(log, ENTRIES)
    size = seal(log, folder, [KEY])[0].end
    append(log, ENTRIES[:1])
    with raw(log) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mark").scalar() == 1
    roll_over(log, [folder], KEYS, keep=0)
    with raw(log) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mark").scalar() == 0
    assert [size for size, _ in LogReader(log).checkpoints()] == [size]
    assert LogReader(log).audit().size == size + 1


def test_cosignatures_from_before_the_segment_leave_with_their_checkpoints(log_of_each_kind: str, folder: str) -> None:
    log = log_of_each_kind
    with LogWriter.open(log, origin=ORIGIN) as writer:
        for size in (33, 35):
            writer.add_checkpoint(size, certified(size, tree_of(ENTRIES[:size]).root()))
            writer.add_cosignature(size, "witness", "line")
    seal(log, folder, [KEY])
    append(log, ENTRIES[35:37])
    with LogWriter.open(log, origin=ORIGIN) as writer:
        writer.add_checkpoint(37, certified(37, tree_of(ENTRIES[:37]).root()))
        writer.add_cosignature(37, "witness", "line")
    roll_over(log, [folder], KEYS, keep=0)
    assert list(LogReader(log).cosignatures(0)) == [35, 37]
    assert [size for size, _ in LogReader(log).checkpoints()] == [*ENDS, 35, 37]
    with pytest.raises(DBAPIError, match="the log is append-only"):
        raw_sql(log, "DELETE FROM cosignature")


def test_a_forged_segment_is_found_before_anything_is_signed(log: str, folder: str, tmp_path: Path) -> None:
    """Who owns the database removes an entry and forges the frontier after it."""
    disarmed(log)
    raw_sql(log, 'DELETE FROM entry WHERE "index" < 20')
    forged = tree_of([*ENTRIES[:7], entry(900), *ENTRIES[8:20]])
    raw_sql(log, "INSERT INTO segment VALUES (20, :frontier)", frontier=b"".join(forged.hashes))
    with pytest.raises(LogCorrupt, match="nothing was signed"):
        seal(log, folder, [KEY])


def forge_beyond(log: str, size: int) -> None:
    """Replace what the mark certifies by another history, hidden behind a forged archive and segment."""
    disarmed(log)
    forged = [*ENTRIES[:31], *(entry(900 + number) for number in range(size - 31))]
    note = certified(size, tree_of(forged).root(), SigningKey.generate(ORIGIN))
    raw_sql(log, "DELETE FROM entry")
    raw_sql(log, "INSERT INTO checkpoint VALUES (:size, :note)", size=size, note=note)
    raw_sql(log, "INSERT INTO archive VALUES (:size, 31, 'nowhere')", size=size)
    frontier = b"".join(tree_of(forged).hashes)
    raw_sql(log, "INSERT INTO segment VALUES (:size, :frontier)", size=size, frontier=frontier)


def test_a_forged_segment_beyond_the_mark_gets_no_signature(log: str, folder: str, tmp_path: Path) -> None:
    mark = MarkFile(tmp_path / "log.mark", ORIGIN)
    mark.advance(checkpoint_at(34))
    forge_beyond(log, 39)
    append(log, ENTRIES[:1])
    with pytest.raises(LogRolledBack):
        seal(log, folder, [KEY], mark=mark)
    assert LogReader(log).archives()[-1][1] == 39


def test_a_writer_does_not_go_on_from_a_forged_segment(log: str) -> None:
    with LogWriter.open(log, origin=ORIGIN) as writer:
        before = writer.tree
        forge_beyond(log, 39)
        append_past_the_store = "INSERT INTO entry VALUES (35, :leaf, :payload)"
        raw_sql(log, append_past_the_store, leaf=leaf_hash(ENTRIES[0]), payload=ENTRIES[0])
        with pytest.raises(LogWriteError):
            writer.append(ENTRIES[35]).result(60)
        with pytest.raises(LogForked):  # the writer opens the log anew
            writer.append(ENTRIES[35]).result(60)
        assert writer.tree == before


def test_a_start_after_a_rollover_passes_its_checks(log: str, folder: str, tmp_path: Path) -> None:
    mark = MarkFile(tmp_path / "log.mark", ORIGIN)
    mark.advance(checkpoint_at(15))  # of another host than the one that seals
    roll_over(log, [folder], KEYS, keep=0)
    with LogWriter.open(log, origin=ORIGIN) as writer:
        Checkpointer(url=log, log=writer, signers=[KEY], mark=mark, archives=folder).check()


def test_a_sqlite_file_shrinks(tmp_path: Path, folder: str) -> None:
    log = tmp_path / "log.db"
    large = [entry(number) for number in range(40)] * 100
    append(str(log), large)
    seal(str(log), folder, [KEY])
    before = log.stat().st_size
    roll_over(str(log), [folder], KEYS, keep=0)
    with raw(str(log)) as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert log.stat().st_size < before / 4
    append(str(log), ENTRIES[:1])
    assert LogReader(str(log)).size() == 4001


def test_keys_that_do_not_know_the_archives_remove_nothing(log: str, folder: str) -> None:
    with pytest.raises(RolloverRefused, match="key"):
        roll_over(log, [folder], PublicKeys(SigningKey.generate(ORIGIN).verifier), keep=0)
    assert len(stored(log)) == 35
