"""The order of the retention settings, and a store whose role cannot delete."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.cli.commands.test_run import invoke
from tests.procedures.operated import OperatedLog
from weightwarden.logger.store.reader import LogReader

pytestmark = pytest.mark.slow


def move(archives: Path | str, target: Path | str, public: Path, keep: int) -> Any:
    return invoke("log", "move", archives, "--to", target, "--public-key", public, "--keep", keep)


def test_archives_that_the_database_still_holds_must_not_move_and_one_rollover_with_both_folders_helps(
    operated: OperatedLog,
) -> None:
    operated.options["keep_sealed"] = 2
    public = operated.public("log.pub", *operated.settings().signing_keys)
    cold = operated.folder / "cold"
    cold.mkdir()
    for _ in range(4):
        assert operated.run() == []
    assert move(operated.archives, cold, public, 3).exit_code == 0  # one more than --keep-sealed
    assert operated.run() == []

    assert move(operated.archives, cold, public, 1).exit_code == 0
    [failed] = operated.run()
    assert failed["cause"] == "not rolled over"
    folders = ("--archives", operated.archives, "--archives", cold)
    rollover = ("log", "rollover", "--log", operated.settings().log, *folders, "--public-key", public, "--keep", 1)
    assert invoke(*rollover).exit_code == 0
    assert operated.run() == []


class UndeletableStore(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store under whose role only unfinished uploads can be deleted."""

    protocol = "undeletable"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("undeletable://", "memory://")))

    def rm(self, path: Any, recursive: bool = False, maxdepth: Any = None) -> None:
        for one in [path] if isinstance(path, str) else path:
            self.rm_file(one)

    def rm_file(self, path: str) -> None:
        if not path.endswith(".partial"):
            raise PermissionError(13, "Access Denied", path)
        super().rm_file(path)


@pytest.fixture
def bucket() -> Iterator[str]:
    fsspec.register_implementation("undeletable", UndeletableStore, clobber=True)
    yield "undeletable://bucket"
    MemoryFileSystem().rm("/bucket", recursive=True)


def test_a_sidecar_seals_and_rolls_over_with_a_role_that_deletes_unfinished_uploads_alone(
    operated: OperatedLog, bucket: str
) -> None:
    operated.options |= {"archives": bucket, "keep_sealed": 1}
    public = operated.public("log.pub", *operated.settings().signing_keys)
    for _ in range(3):
        assert operated.run() == []
    assert LogReader(operated.settings().log).segment_start().size == 4
    refused = move(bucket, operated.folder, public, 1)
    assert refused.exit_code == 2
    assert "cannot be removed" in refused.output
    check = ("log", "check", bucket, "--public-key", public, "--seen", operated.folder / "seen.checkpoint")
    assert invoke(*check).exit_code == 0
