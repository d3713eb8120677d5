import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, checkpoint_at, tree_of
from tests.logger.store.examples import disarmed, raw_sql
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.companion import companion_url, read_companion, write_companion
from weightwarden.logger.archive.errors import ArchiveRefused, ArchiveUnreadable
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.formats.canonical import RecordEncodingError
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sealing import AnotherArchive, seal
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.mark import LogRolledBack, MarkFile
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import leaf_hash


def append(url: str, entries: list[bytes]) -> None:
    with LogWriter.open(url, origin=ORIGIN) as writer:
        for future in [writer.append(entry) for entry in entries]:
            future.result(60)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def log(tmp_path: Path) -> str:
    url = str(tmp_path / "log.db")
    append(url, ENTRIES[:13])
    return url


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "archives").mkdir()
    return str(tmp_path / "archives")


def test_sealed_ranges_make_up_the_log(log: str, folder: str) -> None:
    assert [(s.start, s.end) for s in seal(log, folder, [KEY])] == [(0, 13)]
    assert seal(log, folder, [KEY]) == []
    append(log, ENTRIES[13:])
    assert [(s.start, s.end) for s in seal(log, folder, [KEY])] == [(13, 40)]
    told: list[bytes] = []
    found = check_archives(
        archive_urls([folder]), KEYS, checkpoint_at(13), keep=lambda archive, index, entry: told.append(entry)
    )
    assert found.holds
    assert told == ENTRIES
    reader = LogReader(log)
    assert [(start, end) for start, end, _ in reader.archives()] == [(0, 13), (13, 40)]
    assert reader.audit(root_of=lambda note: checkpoint_at(int(note.split(b"\n")[1])).root).size == 40


def test_a_live_log_is_sealed_beside_its_writer(log: str, folder: str) -> None:
    with LogWriter.open(log, origin=ORIGIN) as writer:
        writer.append(ENTRIES[13]).result(60)
        assert seal(log, folder, [KEY])[0].end == 14
        writer.append(ENTRIES[14]).result(60)
        assert seal(log, folder, [KEY])[0].end == 15
    assert check_archives(archive_urls([folder]), KEYS).holds


def test_too_few_new_records_are_left_for_later(log: str, folder: str) -> None:
    assert seal(log, folder, [KEY], least=14) == []
    assert LogReader(log).checkpoints() == []
    assert seal(log, folder, [KEY], least=13)[0].end == 13


def interrupt(log: str, folder: str, moment: str, signers: list[SigningKey]) -> None:
    """A sealing that is killed when its checkpoint was recorded, or when its archive was written, too."""

    def interrupted(*arguments: object) -> object:
        if moment == "after the archive":
            write_archive(*arguments)  # type: ignore[arg-type]
        else:
            certify = arguments[3]
            certify(13, tree_of(ENTRIES[:13]).root())  # type: ignore[operator]
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("weightwarden.logger.sealing.write_archive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            seal(log, folder, signers)
    reader = LogReader(log)
    assert ([size for size, _ in reader.checkpoints()], reader.archives()) == ([13], [])


@pytest.mark.parametrize(
    ("moment", "then"), [("before the archive", [(0, 40)]), ("after the archive", [(0, 13), (13, 40)])]
)
def test_an_interrupted_sealing_is_taken_up_where_it_was(
    log: str, folder: str, moment: str, then: list[tuple[int, int]]
) -> None:
    interrupt(log, folder, moment, [KEY])
    append(log, ENTRIES[13:])
    assert [(s.start, s.end) for s in seal(log, folder, [KEY])] == then
    assert check_archives(archive_urls([folder]), KEYS).holds


def test_an_interrupted_sealing_goes_on_with_a_new_key(log: str, folder: str) -> None:
    interrupt(log, folder, "before the archive", [KEY])
    new = SigningKey.generate(ORIGIN)
    seal(log, folder, [new])
    assert check_archives(archive_urls([folder]), PublicKeys(new.verifier)).holds


STAMPS = [(index, RequestStamp(f"req-{index}", 1_700_000_000_000 + index)) for index in range(3)]


def append_stamped(url: str) -> None:
    """Three stamped records, and one without a stamp."""
    with LogWriter.open(url, origin=ORIGIN) as writer:
        for index, stamp in STAMPS:
            writer.append(ENTRIES[index], stamp).result(60)
        writer.append(ENTRIES[3]).result(60)


def test_a_sealing_writes_the_stamps_beside_the_archive_and_nothing_of_them_into_it(
    log: str, folder: str, tmp_path: Path
) -> None:
    stamped, plain = str(tmp_path / "stamped.db"), str(tmp_path / "plain.db")
    append_stamped(stamped)
    append(plain, ENTRIES[:4])
    (tmp_path / "plain").mkdir()
    archive, same = seal(stamped, folder, [KEY])[0].url, seal(plain, str(tmp_path / "plain"), [KEY])[0].url
    assert Path(archive).read_bytes() == Path(same).read_bytes()
    companion = read_companion(archive, KEYS)
    assert companion is not None
    assert list(companion.stamps()) == STAMPS
    assert read_companion(same, KEYS) is None
    shutil.rmtree(tmp_path / "archives" / "requests")
    raw_sql(stamped, "DELETE FROM request")
    assert seal(stamped, folder, [KEY]) == []
    append(stamped, ENTRIES[4:6])
    assert seal(stamped, folder, [KEY])[0].end == 6
    assert check_archives(archive_urls([folder]), KEYS, checkpoint_at(4)).holds


@pytest.mark.parametrize("moment", ["before the companion", "after the companion"])
def test_a_sealing_interrupted_at_the_companion_is_taken_up_there(folder: str, tmp_path: Path, moment: str) -> None:
    log = str(tmp_path / "stamped.db")
    append_stamped(log)

    def interrupted(*arguments: object) -> None:
        if moment == "after the companion":
            write_companion(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("weightwarden.logger.sealing.write_companion", interrupted)
        with pytest.raises(KeyboardInterrupt):
            seal(log, folder, [KEY])
    assert LogReader(log).archives() == []
    append(log, ENTRIES[4:6])
    sealed = seal(log, folder, [KEY])
    assert [(one.start, one.end) for one in sealed] == [(0, 4), (4, 6)]
    companion = read_companion(sealed[0].url, KEYS)
    assert companion is not None
    assert list(companion.stamps()) == STAMPS


def test_a_companion_that_another_key_sealed_is_not_overwritten(folder: str, tmp_path: Path) -> None:
    log, url = str(tmp_path / "stamped.db"), f"{folder}/{0:012}-{4:012}.parquet"
    append_stamped(log)
    write_companion(url, STAMPS, 0, 4, ORIGIN, [SigningKey.generate(ORIGIN)])
    theirs = Path(companion_url(url))
    before = theirs.read_bytes()
    with pytest.raises(ArchiveRefused, match="no known key"):
        seal(log, folder, [KEY])
    assert theirs.read_bytes() == before
    theirs.unlink()
    assert seal(log, folder, [KEY])[0].end == 4


def change(log: str, index: int) -> None:
    """Payload and leaf hash of an entry changed by who owns the database."""
    disarmed(log)
    values = {"other": ENTRIES[20], "leaf": leaf_hash(ENTRIES[20])}
    raw_sql(log, f'UPDATE entry SET payload = :other, leaf_hash = :leaf WHERE "index" = {index}', **values)


def test_checkpoints_between_archives_bind_what_is_sealed_later(log: str, folder: str) -> None:
    with SealBook(log) as book:
        for size in (4, 9):
            tree = LogReader(log).frontier(size)
            book.add_checkpoint(size, sign_checkpoint(Checkpoint(ORIGIN, size, tree.root()), [KEY]))
    change(log, 6)
    with pytest.raises(LogCorrupt, match="first 9 entries"):
        seal(log, folder, [KEY])
    assert LogReader(log).archives() == []


@pytest.mark.parametrize("more", [0, 5])
def test_a_log_that_no_longer_extends_its_checkpoint_is_not_signed(log: str, folder: str, more: int) -> None:
    seal(log, folder, [KEY])
    append(log, ENTRIES[13 : 13 + more])
    change(log, 4)
    with pytest.raises(LogCorrupt, match="nothing was signed"):
        seal(log, folder, [KEY])
    assert [size for size, _ in LogReader(log).checkpoints()] == [13]


def test_a_log_that_was_set_back_is_not_signed_even_when_it_grew_again(log: str, folder: str) -> None:
    seal(log, folder, [KEY])
    disarmed(log)
    raw_sql(log, 'DELETE FROM entry WHERE "index" >= 10')
    with pytest.raises(LogCorrupt, match="nothing was signed"):
        seal(log, folder, [KEY])
    append(log, ENTRIES[20:30])
    with pytest.raises(LogCorrupt, match="nothing was signed"):
        seal(log, folder, [KEY])


def test_a_changed_payload_is_not_sealed(log: str, folder: str) -> None:
    disarmed(log)
    raw_sql(log, 'UPDATE entry SET payload = :other WHERE "index" = 4', other=ENTRIES[20])
    with pytest.raises(LogCorrupt, match="entry 4"):
        seal(log, folder, [KEY])
    assert LogReader(log).checkpoints() == []
    assert list(Path(folder).iterdir()) == []


def test_a_log_that_changed_after_an_interrupted_sealing_is_not_sealed(log: str, folder: str) -> None:
    interrupt(log, folder, "before the archive", [KEY])
    change(log, 4)
    with pytest.raises(LogCorrupt):
        seal(log, folder, [KEY])
    assert list(Path(folder).iterdir()) == []


def test_an_entry_that_is_no_record_is_named_before_anything_is_signed(log: str, folder: str) -> None:
    append(log, [b"junk"])
    with pytest.raises(RecordEncodingError, match="entry 13 is not a record"):
        seal(log, folder, [KEY])
    assert LogReader(log).checkpoints() == []


def test_another_archive_of_the_same_name_is_not_overwritten(log: str, folder: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    append(other, [*ENTRIES[20:30], *ENTRIES[:3]])
    theirs = seal(other, folder, [SigningKey.generate(ORIGIN)])[0].url
    before = Path(theirs).read_bytes()
    with pytest.raises(AnotherArchive):
        seal(log, folder, [KEY])
    (tmp_path / "elsewhere").mkdir()
    interrupt(log, str(tmp_path / "elsewhere"), "before the archive", [KEY])
    with pytest.raises(ArchiveRefused, match="no known key"):
        seal(log, folder, [KEY])
    assert Path(theirs).read_bytes() == before


def put_back(log: str, copy: Path) -> None:
    """An old copy of a database in its place, without what SQLite keeps beside it."""
    for beside in ("-wal", "-shm"):
        Path(f"{log}{beside}").unlink(missing_ok=True)
    shutil.copyfile(copy, log)


@pytest.mark.parametrize("proof", ["mark", "archive"])
@pytest.mark.parametrize("sealed_before", [False, True])
def test_an_old_copy_of_the_database_is_not_sealed(
    log: str, folder: str, tmp_path: Path, proof: str, sealed_before: bool
) -> None:
    mark = MarkFile(tmp_path / "mark", ORIGIN) if proof == "mark" else None
    if sealed_before:
        seal(log, folder, [KEY], mark=mark)
    copy = tmp_path / "copy.db"
    shutil.copyfile(log, copy)
    append(log, ENTRIES[13:20])
    seal(log, folder, [KEY], mark=mark)
    put_back(log, copy)
    append(log, ENTRIES[20:40])
    if proof == "mark":
        folder = str(tmp_path / "elsewhere")
        Path(folder).mkdir()
    before = LogReader(log).checkpoints()
    with pytest.raises(LogRolledBack, match="begin a new log"):
        seal(log, folder, [KEY], mark=mark)
    assert LogReader(log).checkpoints() == before
    if proof == "archive":
        assert check_archives(archive_urls([folder]), KEYS).holds


def test_a_mark_that_is_missing_is_not_made_of_a_log_that_was_signed_before(
    log: str, folder: str, tmp_path: Path
) -> None:
    mark = MarkFile(tmp_path / "mark", ORIGIN)
    seal(log, folder, [KEY], mark=mark)
    mark.path.unlink()
    append(log, ENTRIES[13:])
    with pytest.raises(KeyFileError, match="verify log mark"):
        seal(log, folder, [KEY], mark=mark)
    mark.renew(LogReader(log))
    assert seal(log, folder, [KEY], mark=mark)[0].end == 40


def test_what_another_key_sealed_is_no_archive_of_this_log(log: str, folder: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    append(other, ENTRIES[20:40])
    seal(other, folder, [SigningKey.generate(ORIGIN)])
    (Path(folder) / "000000000000-000000000099.parquet").write_bytes(b"rubbish")
    assert seal(log, folder, [KEY])[0].end == 13


def test_a_missing_folder_is_made_for_its_owner_and_group(log: str, tmp_path: Path) -> None:
    with umask(0o022):
        assert [(s.start, s.end) for s in seal(log, str(tmp_path / "new"), [KEY])] == [(0, 13)]
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o750


def test_a_folder_is_not_made_where_its_own_folder_is_missing_or_a_file(log: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "no" / "archives", tmp_path / "file"):
        with pytest.raises(ArchiveUnreadable, match="cannot be made"):
            seal(log, str(folder), [KEY])
    assert not (tmp_path / "no").exists()
    assert LogReader(log).checkpoints() == []


def test_nothing_is_left_of_an_archive_that_cannot_be_written(log: str, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-folder" / "archives"
    with pytest.raises(ArchiveUnreadable, match="no-such-folder"):
        seal(log, str(missing), [KEY])
    assert not missing.parent.exists()
    missing.parent.mkdir()
    assert seal(log, str(missing), [KEY])[0].end == 13


def test_a_key_of_another_log_does_not_seal(log: str, folder: str) -> None:
    with pytest.raises(KeyFileError, match=r"example\.org/log"):
        seal(log, folder, [SigningKey.generate("another/log")])


def test_keys_rotate_by_sealing_with_both(log: str, folder: str) -> None:
    new = SigningKey.generate(ORIGIN)
    url = seal(log, folder, [KEY, new])[0].url
    assert read_archive(url, KEYS).end == 13
    append(log, ENTRIES[13:])
    seal(log, folder, [new])
    assert [f.kind for f in check_archives(archive_urls([folder]), KEYS).findings] == ["seal"]


def test_archives_may_lie_in_any_store_that_fsspec_knows(log: str) -> None:
    files = fsspec.filesystem("memory")  # like an object store: a folder exists once it holds a file
    try:
        seal(log, "memory://archives", [KEY])
        append(log, ENTRIES[13:])
        seal(log, "memory://archives", [KEY])
        assert check_archives(archive_urls(["memory://archives"]), KEYS).records == 40
        assert [Path(name).suffix for name in files.ls("/archives", detail=False)] == [".parquet"] * 2
    finally:
        files.rm("/archives", recursive=True)


def test_a_missing_folder_is_made_for_the_first_archive_alone(log: str, folder: str, tmp_path: Path) -> None:
    Path(folder).rmdir()
    assert seal(log, folder, [KEY])[0].end == 13
    shutil.move(folder, tmp_path / "unmounted")
    append(log, ENTRIES[13:20])
    with pytest.raises(ArchiveUnreadable, match="archives"):
        seal(log, folder, [KEY])
    assert not Path(folder).exists()
