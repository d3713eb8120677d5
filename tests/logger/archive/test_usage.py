from pathlib import Path

import fsspec
import pytest

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, archived
from weightwarden.logger.archive.companion import companion_url, write_companion
from weightwarden.logger.archive.errors import ArchiveRefused, ArchiveUnreadable
from weightwarden.logger.archive.names import archive_name
from weightwarden.logger.archive.usage import FileUsage, FolderUsage, folder_usage
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey


def tokens_of(start: int, end: int) -> int:
    return sum(len(decode_record(one).output_token_ids) for one in ENTRIES[start:end])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two archives, of which the second has a companion."""
    archived(tmp_path / archive_name(0, 13), 0, 13)
    url = archived(tmp_path / archive_name(13, 40), 13, 40)
    write_companion(url, [(at, RequestStamp("r", at)) for at in range(13, 40)], 13, 40, ORIGIN, [KEY])
    return tmp_path


def test_bytes_and_tokens_are_those_of_the_files(folder: Path) -> None:
    steps: list[int] = []
    first, second = (folder / archive_name(*one) for one in ((0, 13), (13, 40)))
    assert folder_usage(str(folder), KEYS, steps.append) == FolderUsage(
        archives=FileUsage(
            files=2,
            file_bytes=first.stat().st_size + second.stat().st_size,
            records=40,
            output_tokens=tokens_of(0, 40),
        ),
        companions=FileUsage(
            files=1,
            file_bytes=Path(companion_url(str(second))).stat().st_size,
            records=27,
            output_tokens=tokens_of(13, 40),
        ),
    )
    assert steps == [1, 1]


def test_archives_of_an_object_store_are_measured(folder: Path) -> None:
    files = fsspec.filesystem("memory")
    files.put(f"{folder}/", "/measured/", recursive=True)
    try:
        assert folder_usage("memory://measured", KEYS) == folder_usage(str(folder), KEYS)
    finally:
        files.rm("/measured", recursive=True)


def test_a_folder_without_archives_holds_nothing(tmp_path: Path) -> None:
    assert folder_usage(str(tmp_path), KEYS) == FolderUsage(archives=FileUsage(), companions=FileUsage())
    with pytest.raises(ArchiveUnreadable):
        folder_usage(str(tmp_path / "none"), KEYS)


def test_what_these_keys_did_not_seal_is_not_parsed(folder: Path) -> None:
    with pytest.raises(ArchiveRefused, match="key"):
        folder_usage(str(folder), PublicKeys(SigningKey.generate(ORIGIN).verifier))
    path = folder / archive_name(13, 40)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveRefused, match="not those that were sealed"):
        folder_usage(str(folder), KEYS)
