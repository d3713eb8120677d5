import stat
from pathlib import Path

import pytest

from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.store.errors import LogLocked
from weightwarden.logger.store.mark import Mark, MarkFile, mark_path
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.merkle import leaf_hash

ORIGIN = "example.org/log"


def checkpoint(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, leaf_hash(b"%d" % size))


def test_a_mark_moves_on_and_never_back(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "mark", ORIGIN)
    assert file.read() is None
    file.advance(checkpoint(5))
    file.begin(1, b"n" * 32)
    file.advance(checkpoint(3))
    assert file.read() == Mark(checkpoint=checkpoint(5), start=1, nonce=b"n" * 32)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_mark_is_named_by_its_log_whichever_key_of_a_folder_signs(tmp_path: Path) -> None:
    assert mark_path(tmp_path / "old.key", ORIGIN) == mark_path(tmp_path / "new.key", ORIGIN)
    assert mark_path(tmp_path / "old.key", ORIGIN) != mark_path(tmp_path / "old.key", "example.org/other")
    MarkFile(mark_path(tmp_path / "key", "o" * 256), "o" * 256).begin(1, b"n")


@pytest.mark.parametrize("text", ["", "weightwarden-mark/1\n", "weightwarden-mark/1\nx \n", "another\n1 00\n", "\xff"])
def test_what_is_no_mark_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mark"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="mark"):
        MarkFile(path, ORIGIN).read()


def test_the_mark_of_another_log_is_refused(tmp_path: Path) -> None:
    MarkFile(tmp_path / "mark", "example.org/other").begin(1, b"n")
    with pytest.raises(KeyFileError, match=r"example\.org/other"):
        MarkFile(tmp_path / "mark", ORIGIN).advance(checkpoint(1))


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    for file in (MarkFile(tmp_path / "none" / "mark", ORIGIN), MarkFile(Path("/proc/mark"), ORIGIN)):
        with pytest.raises(KeyFileError, match="--mark"):
            file.begin(1, b"n")


def test_one_logger_at_a_time_holds_a_mark(tmp_path: Path) -> None:
    with MarkFile(tmp_path / "mark", ORIGIN):
        with pytest.raises(LogLocked), MarkFile(tmp_path / "mark", ORIGIN):
            pass
        MarkFile(tmp_path / "mark", ORIGIN).advance(checkpoint(2))  # who seals only moves it on
    with MarkFile(tmp_path / "mark", ORIGIN):
        pass
