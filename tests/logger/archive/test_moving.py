from pathlib import Path

import fsspec
import pytest

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, archived, entry
from weightwarden.logger.archive import moving
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.companion import companion_url, write_companion
from weightwarden.logger.archive.moving import MoveRefused, move_archives
from weightwarden.logger.archive.names import archive_name
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.request_stamp import RequestStamp

RANGES = ((0, 13), (13, 20), (20, 31), (31, 40))


@pytest.fixture
def hot(tmp_path: Path) -> Path:
    """A folder of four archives, with companions, and of a file that is none."""
    folder = tmp_path / "hot"
    folder.mkdir()
    for start, end in RANGES:
        url = archived(folder / archive_name(start, end), start, end)
        write_companion(url, [(at, RequestStamp("r", at)) for at in range(start, end)], start, end, ORIGIN, [KEY])
    (folder / "notes.parquet").write_text("no archive")
    return folder


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    (tmp_path / "cold").mkdir()
    return tmp_path / "cold"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("0*.parquet"))


def whole_log(hot: Path, cold: Path) -> list[bytes]:
    told: list[bytes] = []
    urls = [url for url in archive_urls([str(cold), str(hot)]) if "notes" not in url]
    found = check_archives(urls, KEYS, keep=lambda _, at, one: told.append(one))
    assert found.holds, found.findings
    return told


def test_older_archives_move_with_their_companions(hot: Path, cold: Path) -> None:
    assert move_archives(str(hot), str(cold), KEYS, keep=1) == 3
    older, newest = [archive_name(*one) for one in RANGES[:3]], archive_name(*RANGES[3])
    assert names(cold) == sorted([*older, *(f"requests/{name}" for name in older)])
    assert names(hot) == [newest, f"requests/{newest}"]
    assert whole_log(hot, cold) == ENTRIES
    assert move_archives(str(hot), str(cold), KEYS, keep=1) == 0


def test_they_move_to_an_object_store(hot: Path) -> None:
    files = fsspec.filesystem("memory")
    files.makedirs("/cold", exist_ok=True)
    try:
        assert move_archives(str(hot), "memory://cold", KEYS, keep=2) == 2
        assert files.exists(companion_url("/cold/" + archive_name(0, 13)))
        assert not [path for path in files.find("/cold") if path.endswith(".partial")]
        assert check_archives(archive_urls(["memory://cold"]), KEYS).holds
    finally:
        files.rm("/cold", recursive=True)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@pytest.mark.parametrize("step", ["publish", "read_archive", "remove"])
@pytest.mark.parametrize("call", [0, 1, 3])
def test_an_interrupted_move_loses_nothing_and_goes_on(
    hot: Path, cold: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    whole = getattr(moving, step)
    calls: list[None] = []

    def interrupted(*arguments: object) -> object:
        if len(calls) == call:
            raise Killed
        calls.append(None)
        return whole(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(moving, step, interrupted)
        with pytest.raises(Killed):
            move_archives(str(hot), str(cold), KEYS, keep=1)
    for start, end in RANGES:
        assert (hot / archive_name(start, end)).exists() or (cold / archive_name(start, end)).exists()
    move_archives(str(hot), str(cold), KEYS, keep=1)
    assert whole_log(hot, cold) == ENTRIES
    assert len(names(hot)) == 2


def test_another_file_of_the_same_name_is_neither_replaced_nor_taken_for_a_copy(hot: Path, cold: Path) -> None:
    archived(cold / archive_name(0, 13), 0, 13, [entry(100 + at) for at in range(40)])
    before = (cold / archive_name(0, 13)).read_bytes()
    with pytest.raises(MoveRefused, match="is there already"):
        move_archives(str(hot), str(cold), KEYS, keep=1)
    assert (cold / archive_name(0, 13)).read_bytes() == before
    assert len([name for name in names(hot) if "/" not in name]) == 4


def test_a_spoiled_archive_stays(hot: Path, cold: Path) -> None:
    path = hot / archive_name(13, 20)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MoveRefused, match="stays where it is"):
        move_archives(str(hot), str(cold), KEYS, keep=1)
    assert path.exists()
    assert not (cold / archive_name(13, 20)).exists()
