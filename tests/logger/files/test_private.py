"""What a file of this project lets others read: nothing, unless it is for everybody; then all of it."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
import pytest
from click.testing import CliRunner

from tests.logger.sidecar.running import running, settings_in
from tests.logger.sidecar.scripted_upstream import scripted_upstream
from tests.places import ROOT
from tests.recorded import FILTERED as SAMPLE
from weightwarden.cli.main import verify
from weightwarden.cli.options.shared import ProviderOptions, ServerOptions
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.logger.archive.storage import publish
from weightwarden.logger.files.atomic import PRIVATE, PUBLIC, SHARED, make_public, write_whole
from weightwarden.logger.files.output import write_text
from weightwarden.logger.files.private import KeyFileError, read_secret, require_distinct, write_private
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.log.seeds import read_seed_key
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.audit_selection import read_audit_key
from weightwarden.verifier.model.embedded import write_embedded_model


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


def test_what_is_for_everybody_can_be_read_under_every_umask(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "key.pub", "public", public=True)
    assert mode(tmp_path / "key.pub") == PUBLIC == 0o644


@pytest.mark.usefixtures("umask")
def test_a_folder_for_everybody_can_be_read_whole_and_changed_by_its_owner_alone(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    outside.write_bytes(b"x")
    outside.chmod(0o600)
    for path in (folder / "a", folder / "sub" / "b"):
        write_private(path, b"x")
    (folder / "link").symlink_to(outside)
    make_public(folder)
    assert {mode(path) for path in (folder, folder / "sub")} == {0o755}
    assert {mode(path) for path in (folder / "a", folder / "sub" / "b")} == {0o644}
    assert mode(outside) == 0o600


def commanded(*arguments: str | Path, group: click.Group = verify) -> None:
    result = CliRunner().invoke(group, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def test_files_of_the_commands_are_for_those_who_need_them(tmp_path: Path, umask: int) -> None:
    key, archive, log = tmp_path / "import-1.key", tmp_path / "a.parquet", tmp_path / "log.db"
    commanded("log", "key", "new", "example.org/import-1", "--out", key)
    commanded("key", tmp_path / "seed.key", group=sidecar)
    commanded("log", "import", SAMPLE, "--signing-key", key, "--out", archive)
    commanded("log", "check", archive, "--public-key", f"{key}.pub", "--seen", tmp_path / "witness")
    with LogWriter.open(str(log), origin="example.org/import-1") as writer:
        writer.append(encode_record(read_traffic(SAMPLE)[0].record)).result(60)
    (tmp_path / "archives").mkdir()
    commanded("log", "seal", "--log", log, "--archives", tmp_path / "archives", "--signing-key", key)
    expected = {
        PUBLIC: {"import-1.key.pub", "witness"},
        SHARED & ~umask: {"a.parquet", "000000000000-000000000001.parquet"},
    }
    everybody = {name for names in expected.values() for name in names}
    for bits, names in expected.items():
        assert {mode(path) for path in tmp_path.rglob("*") if path.name in names} == {bits}
    others = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in everybody]
    assert len(others) >= 5
    assert {mode(path) for path in others} == {PRIVATE}


@pytest.mark.slow  # it is dequantised
def test_the_embedded_model_can_be_read_by_the_services_users(model_folder: Path, tmp_path: Path) -> None:
    """Written anew, since the machine's copy may be an older version's."""
    before = os.umask(0o077)
    try:
        write_embedded_model(tmp_path / "model")
    finally:
        os.umask(before)
    assert mode(tmp_path / "model") == 0o755
    assert {mode(path) for path in (tmp_path / "model").iterdir()} == {0o644}
    assert len(list((tmp_path / "model").glob("*.safetensors"))) == 1


CREATES = re.compile(r"""\.write_(text|bytes)\(|open\("[wax]|O_CREAT|\.mkdir\(|mkstemp|mkdtemp|copytree\(|copyfile\(""")
WRITERS = {
    "logger/files/atomic.py",
    "logger/files/private.py",
    "logger/archive/storage.py",
    "logger/database.py",
    "logger/store/lock.py",
    "logger/store/mark.py",
    "logger/store/turn.py",
    "verifier/model/embedded.py",
    "verifier/replay/vllm/managed_server.py",
}
"""Files that create files or folders, each with permissions that were decided (above, or in its own tests)."""


def test_files_are_created_in_few_places() -> None:
    packages = ("sampler", "logger", "verifier", "cli")
    found = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if CREATES.search(path.read_text(encoding="utf-8"))
    }
    assert found == WRITERS


def test_a_secret_of_two_purposes_is_refused_as_a_file_and_as_content(tmp_path: Path) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    write_private(tmp_path / "a", secret.encode())
    write_private(tmp_path / "b", f"# clients\n{'x' * 40}\n {secret} \n".encode())
    write_private(tmp_path / "c", b"y" * 40)
    (tmp_path / "link").hardlink_to(tmp_path / "c")
    require_distinct({"--one": tmp_path / "a", "--two": tmp_path / "c", "--three": None})
    for first, second in (("a", "a"), ("a", "b"), ("b", "a"), ("c", "link")):
        with pytest.raises(KeyFileError, match=r"--one .* and --two .* hold the same secret") as failed:
            require_distinct({"--one": tmp_path / first, "--two": tmp_path / second})
        assert secret not in str(failed.value)


def test_lines_that_every_key_file_may_have_are_no_secrets(tmp_path: Path) -> None:
    for name, key in (("a", "x" * 40), ("b", "y" * 40)):
        write_private(tmp_path / name, f"# one key a line for each client\n-----BEGIN KEYS-----\n{key}\n".encode())
    require_distinct({"--one": tmp_path / "a", "--two": tmp_path / "b"})


def test_a_file_is_private_from_its_first_byte_on_and_overwrites_one_that_was_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    seen: list[int] = []
    write_whole(path, lambda stream: seen.append(stat.S_IMODE(os.fstat(stream.fileno()).st_mode)))
    assert seen == [0o600]
    assert mode(path) == 0o600


def test_a_log_and_all_that_lies_beside_it_is_its_owners_alone(tmp_path: Path, model_folder: Path) -> None:
    with scripted_upstream() as upstream, running(settings_in(tmp_path, model_folder, upstream.url)) as served:
        assert served.complete(max_tokens=2).status_code == 200
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
