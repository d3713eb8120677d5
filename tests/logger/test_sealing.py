from pathlib import Path

import fsspec
import pytest

from logger.archive.check import check_archives
from logger.archive.errors import ArchiveUnreadable
from logger.archive.reader import read_archive
from logger.archive.storage import archive_urls
from logger.archive.writer import write_archive
from logger.keys import KeyFileError, SigningKey
from logger.sealing import seal
from logger.store.errors import LogCorrupt
from logger.store.reader import LogReader
from logger.store.writer import LogWriter
from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, checkpoint_at
from tests.logger.store.examples import disarmed, raw_sql


def append(url: str, entries: list[bytes]) -> None:
    with LogWriter.open(url, origin=ORIGIN) as writer:
        for future in [writer.append(entry) for entry in entries]:
            future.result(60)


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


@pytest.mark.parametrize("moment", ["before the archive", "after the archive"])
def test_an_interrupted_sealing_is_taken_up_where_it_was(
    log: str, folder: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> object:
        if moment == "after the archive":
            write_archive(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("logger.sealing.write_archive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            seal(log, folder, [KEY])
    assert LogReader(log).archives() == []
    append(log, ENTRIES[13:])
    assert [(s.start, s.end) for s in seal(log, folder, [KEY])] == [(0, 13), (13, 40)]
    assert check_archives(archive_urls([folder]), KEYS).holds


def test_nothing_is_left_of_an_archive_that_cannot_be_written(log: str, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-folder"
    with pytest.raises(ArchiveUnreadable, match="no-such-folder"):
        seal(log, str(missing), [KEY])
    assert not missing.exists()
    missing.mkdir()
    assert seal(log, str(missing), [KEY])[0].end == 13


def test_a_log_that_changed_after_its_checkpoint_is_not_sealed(log: str, folder: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnreadable):
        seal(log, str(tmp_path / "missing"), [KEY])  # signs the checkpoint only
    disarmed(log)
    raw_sql(log, 'UPDATE entry SET payload = :other WHERE "index" = 4', other=ENTRIES[20])
    with pytest.raises(LogCorrupt, match="no longer those that checkpoint 13 certifies"):
        seal(log, folder, [KEY])
    assert list(Path(folder).iterdir()) == []


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
    files = fsspec.filesystem("memory")
    files.mkdir("/archives")
    try:
        seal(log, "memory://archives", [KEY])
        append(log, ENTRIES[13:])
        seal(log, "memory://archives", [KEY])
        assert check_archives(archive_urls(["memory://archives"]), KEYS).records == 40
        assert [Path(name).suffix for name in files.ls("/archives", detail=False)] == [".parquet"] * 2
    finally:
        files.rm("/archives", recursive=True)
