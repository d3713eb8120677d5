"""What a file of this project lets others read: nothing, unless it is for everybody."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.logger.sidecar.running import running, settings_in
from tests.logger.sidecar.scripted_upstream import scripted_upstream
from weightwarden.cli.options.shared import ProviderOptions, ServerOptions
from weightwarden.logger.archive.storage import publish
from weightwarden.logger.files.atomic import PRIVATE, PUBLIC, write_whole
from weightwarden.logger.files.output import write_text
from weightwarden.logger.files.private import KeyFileError, read_secret, write_private
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.log.seeds import read_seed_key
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.audit_selection import read_audit_key


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["000", "022", "077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_reports_and_states_are_their_owners_alone(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "report.html", "prompts")
    assert mode(tmp_path / "report.html") == PRIVATE == 0o600


def test_an_archive_may_be_read_by_its_group_if_the_umask_lets_it_and_by_no_other(tmp_path: Path, umask: int) -> None:
    def one_byte(stream: BinaryIO) -> None:
        stream.write(b"x")

    publish(str(tmp_path / "archive.parquet"), one_byte)
    assert mode(tmp_path / "archive.parquet") == 0o640 & ~umask


def test_what_is_for_everybody_still_follows_the_umask(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "key.pub", "public", public=True)
    assert mode(tmp_path / "key.pub") == PUBLIC & ~umask


def test_a_file_is_private_from_its_first_byte_on_and_overwrites_one_that_was_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    seen: list[int] = []
    write_whole(path, lambda stream: seen.append(stat.S_IMODE(os.fstat(stream.fileno()).st_mode)))
    assert seen == [0o600]
    assert mode(path) == 0o600


def test_a_log_and_all_that_lies_beside_it_is_its_owners_alone(tmp_path: Path, model_folder: Path) -> None:
    with scripted_upstream() as upstream, running(settings_in(tmp_path, model_folder, upstream.url)) as sidecar:
        assert sidecar.complete(max_tokens=2).status_code == 200
        beside = list(tmp_path.glob("log.db*"))
        assert any(path.name.endswith("-wal") for path in beside)
        assert {mode(path) for path in beside} == {0o600}


def test_every_file_with_a_secret_that_others_can_read_is_refused_by_one_error(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"s" * 40)
    readers = (
        read_secret,
        read_seed_key,
        read_audit_key,
        ApiKeys.read,
        SigningKey.read,
        lambda file: ServerOptions(replay_key_path=file).api_key(),
        lambda file: ProviderOptions(key_path=file).api_key(),
    )
    assert read_secret(path) == "s" * 40
    for bits in (0o640, 0o604, 0o620, 0o610):
        path.chmod(bits)
        for reader in readers:
            with pytest.raises(KeyFileError, match="others than its owner may read it") as failed:
                reader(path)
            assert "sss" not in str(failed.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"two keys", b"one\ntwo", "schlüssel".encode(), b"\xff\xfe"])
def test_a_file_that_holds_no_single_key_is_refused(tmp_path: Path, content: bytes) -> None:
    write_private(tmp_path / "key", content)
    with pytest.raises(KeyFileError):
        read_secret(tmp_path / "key")


def test_there_is_one_class_of_that_name() -> None:
    found = [error for error in _subclasses(Exception) if error.__name__ == "KeyFileError"]
    assert set(found) == {KeyFileError}


def _subclasses(kind: type[BaseException]) -> list[type[BaseException]]:
    direct = kind.__subclasses__()
    return direct + [one for each in direct for one in _subclasses(each)]
