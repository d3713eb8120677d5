import io
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, archived
from weightwarden.logger.archive.companion import GROUP_ROWS, companion_url, read_companion, write_companion
from weightwarden.logger.archive.errors import ArchiveRefused, ArchiveUnreadable
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import archive_urls, list_archives
from weightwarden.logger.request_stamp import RequestStamp, StampQuery
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey

STAMPS = [(index, RequestStamp(f"req-{index % 3}", 1_700_000_000_000 + index)) for index in range(8) if index != 2]


def written(folder: Path, stamps: Sequence[tuple[int, RequestStamp]] = STAMPS, end: int = 8) -> tuple[str, Path]:
    """The URL of an archive, which need not exist, and its companion's path."""
    archive = f"{folder}/{0:012}-{end:012}.parquet"
    write_companion(archive, stamps, 0, end, ORIGIN, [KEY])
    return archive, Path(companion_url(archive))


def found(archive: str, query: StampQuery) -> list[int]:
    companion = read_companion(archive, KEYS)
    assert companion is not None
    return [index for index, _ in companion.stamps(query)]


def test_a_companion_holds_the_stamps_that_were_written(tmp_path: Path) -> None:
    archive, path = written(tmp_path)
    companion = read_companion(archive, KEYS)
    assert companion is not None
    assert (companion.origin, companion.start, companion.end) == (ORIGIN, 0, 8)
    assert list(companion.stamps()) == STAMPS
    assert pq.read_table(path).column("time")[0].as_py().isoformat() == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    ("query", "indices"),
    [
        (StampQuery(indices=range(2, 5)), [3, 4]),
        (StampQuery(request_ids=("req-1", "none")), [1, 4, 7]),
        (StampQuery(request_ids=()), []),
        (StampQuery(since=1_700_000_000_005), [5, 6, 7]),
        (StampQuery(until=1_700_000_000_003), [0, 1]),
        (StampQuery(since=1_700_000_000_001, until=1_700_000_000_007, request_ids=("req-0",)), [3, 6]),
    ],
)
def test_stamps_are_found_by_all_given_conditions(tmp_path: Path, query: StampQuery, indices: list[int]) -> None:
    assert found(written(tmp_path)[0], query) == indices


def test_stamps_of_many_row_groups_are_found(tmp_path: Path) -> None:
    count = GROUP_ROWS + 5
    archive, path = written(tmp_path, [(index, RequestStamp("a", index)) for index in range(count)], count)
    assert pq.ParquetFile(path).num_row_groups == 2
    assert found(archive, StampQuery(since=GROUP_ROWS - 1)) == list(range(GROUP_ROWS - 1, count))


def test_without_stamps_there_is_no_companion(tmp_path: Path) -> None:
    archive, path = written(tmp_path, [])
    assert not path.parent.exists()
    assert read_companion(archive, KEYS) is None


def test_listings_of_archives_do_not_show_companions(tmp_path: Path) -> None:
    archive = archived(tmp_path / f"{0:012}-{8:012}.parquet", 0, 8)
    write_companion(archive, STAMPS, 0, 8, ORIGIN, [KEY])
    assert archive_urls([str(tmp_path)]) == [archive]
    listing = list_archives(str(tmp_path))
    assert ([file.url for file in listing.files], listing.strange) == ([archive], [])


def test_every_changed_byte_is_refused(tmp_path: Path) -> None:
    archive, path = written(tmp_path)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ArchiveRefused):
            read_companion(archive, KEYS)
    for end in (0, 7, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(ArchiveRefused):
            read_companion(archive, KEYS)


def test_a_companion_that_was_changed_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    archive, path = written(tmp_path)
    companion = read_companion(archive, KEYS)
    assert companion is not None
    data = bytearray(path.read_bytes())
    data[8] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveRefused, match="not those that were sealed"):
        list(companion.stamps())


def test_an_archive_is_no_companion_and_a_companion_no_archive(tmp_path: Path) -> None:
    archive, path = written(tmp_path)
    with pytest.raises(ArchiveRefused, match="not one of weightwarden-archive/1"):
        read_archive(str(path), KEYS)
    archived(path, 0, 8, ENTRIES)
    with pytest.raises(ArchiveRefused, match="not one of weightwarden-requests/1"):
        read_companion(archive, KEYS)


def test_a_companion_of_another_key_or_range_is_refused(tmp_path: Path) -> None:
    archive, path = written(tmp_path)
    with pytest.raises(ArchiveRefused, match="no known key"):
        read_companion(archive, PublicKeys(SigningKey.generate(ORIGIN).verifier))
    other = f"{tmp_path}/{8:012}-{16:012}.parquet"
    path.rename(companion_url(other))
    with pytest.raises(ArchiveRefused, match="of records 0 to 7"):
        read_companion(other, KEYS)


@pytest.mark.parametrize("indices", [[0, 8], [3, 3], [4, 3], [-1]])
def test_rows_of_other_records_are_refused_although_the_key_sealed_them(tmp_path: Path, indices: list[int]) -> None:
    archive, _ = written(tmp_path, [(index, RequestStamp("a", 1)) for index in indices])
    with pytest.raises(ArchiveRefused, match="not of records 0 to 7"):
        found(archive, StampQuery())


def test_equal_stamps_make_equal_bytes(tmp_path: Path) -> None:
    _, path = written(tmp_path)
    before = path.read_bytes()
    assert written(tmp_path)[1].read_bytes() == before


def test_companions_lie_in_any_store(tmp_path: Path) -> None:
    archive, path = written(tmp_path)
    url = "memory://weightwarden-companions/archives/" + archive.rpartition("/")[2]
    write_companion(url, STAMPS, 0, 8, ORIGIN, [KEY])
    companion = read_companion(url, KEYS)
    assert companion is not None
    assert list(companion.stamps()) == STAMPS
    with fsspec.open(companion_url(url), "rb") as stream:
        assert io.BytesIO(stream.read()).getvalue() == path.read_bytes()


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "requests").write_bytes(b"")
    with pytest.raises(ArchiveUnreadable, match="requests"):
        written(tmp_path)
