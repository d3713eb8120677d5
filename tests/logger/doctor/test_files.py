import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from weightwarden.logger.doctor.files import archive_folder, free_space, secret_file, tls_files, writable_folder
from weightwarden.logger.doctor.finding import Finding, Status
from weightwarden.logger.files.private import read_secret, write_private

SECRET = "never-shown-anywhere"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def secret(path: Path) -> Finding:
    return secret_file("key", path, read_secret, make="make it")[0]


def test_a_secret_that_others_may_read_is_a_fault_and_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, SECRET.encode())
    found, value = secret_file("key", path, read_secret, make="make it")
    assert (found.status, found.advice, value) == (Status.OK, "", SECRET)
    path.chmod(0o640)
    found, value = secret_file("key", path, read_secret, make="make it")
    assert (found.status, value) == (Status.FAULT, None)
    assert "others than its owner" in found.found
    assert "make it" in found.advice
    assert SECRET not in str(found)


@pytest.mark.parametrize("content", [None, b"", b"two words"])
def test_a_secret_that_is_missing_or_none_is_a_fault_with_how_to_make_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        write_private(path, content)
    found = secret(path)
    assert found.status is Status.FAULT
    assert str(path) in found.found
    assert "make it" in found.advice
    assert "two words" not in str(found)


def test_a_folder_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert writable_folder("folder", tmp_path).status is Status.OK
    assert "is a file" in writable_folder("folder", tmp_path / "file").found
    missing = writable_folder("folder", tmp_path / "missing")
    assert missing.status is Status.FAULT
    assert missing.advice == f"mkdir -m 750 {tmp_path / 'missing'}"
    assert not (tmp_path / "missing").exists()


@contextmanager
def as_another_user() -> Iterator[None]:
    """Without root's rights, if the tests have them."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_folder_that_cannot_be_written_or_seen_is_a_fault(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp())  # everybody may pass through the folders above it
    try:
        (folder / "inside").mkdir()
        folder.chmod(0o555)
        with as_another_user():
            assert "cannot write" in writable_folder("folder", folder).found
        folder.chmod(0)
        with as_another_user():
            assert writable_folder("folder", folder / "inside").status is Status.FAULT
            assert archive_folder("archives", str(folder / "inside"), writes=True).status is Status.FAULT
            assert [one.status for one in free_space("disk", [folder / "inside"], none=0, little=0)] == [Status.OK]
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_writers_folder_of_archives_is_made_later_if_it_can_be(tmp_path: Path) -> None:
    assert archive_folder("archives", str(tmp_path / "new"), writes=True).found.endswith("made at the start")
    assert archive_folder("archives", str(tmp_path / "a" / "new"), writes=True).status is Status.FAULT
    assert list(tmp_path.iterdir()) == []


def test_a_readers_folder_of_archives_must_be_there_and_hold_some(tmp_path: Path) -> None:
    assert archive_folder("archives", str(tmp_path / "new"), writes=False).status is Status.FAULT
    assert archive_folder("archives", "memory://new", writes=True).found.endswith("no archive yet")
    assert archive_folder("archives", "memory://new", writes=False).status is Status.FAULT
    assert archive_folder("archives", str(tmp_path), writes=False).status is Status.WARNING
    (tmp_path / "a.parquet").touch()
    assert archive_folder("archives", str(tmp_path), writes=False).status is Status.OK
    store = archive_folder("archives", "no-such-store://user:hunter2@a", writes=False)
    assert store.status is Status.FAULT
    assert "hunter2" not in repr(store)


def test_a_disk_is_judged_once_by_its_free_space(tmp_path: Path) -> None:
    places = [tmp_path / "not" / "yet", tmp_path]
    [found] = free_space("disk", places, little=0, none=0)
    assert found.status is Status.OK
    assert str(places[0]) in found.found
    assert [one.status for one in free_space("disk", places, little=2**80, none=0)] == [Status.WARNING]
    assert [one.status for one in free_space("disk", places, little=2**80, none=2**80)] == [Status.FAULT]
    assert free_space("disk", []) == []


def certificate(folder: Path, name: str, key: EllipticCurvePrivateKey, days: int = 365) -> Path:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.org")])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, SHA256())
    )
    path = folder / name
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def key_file(folder: Path, name: str) -> tuple[EllipticCurvePrivateKey, Path]:
    key = generate_private_key(SECP256R1())
    path = folder / name
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key, path


def test_a_certificate_and_its_key_belong_together_and_are_valid(tmp_path: Path) -> None:
    key, path = key_file(tmp_path, "tls.key")
    _, other = key_file(tmp_path, "other.key")
    good = certificate(tmp_path, "good.pem", key)
    assert tls_files("TLS", good, path, NOW).status is Status.OK
    mismatch = tls_files("TLS", good, other, NOW)
    assert mismatch.status is Status.FAULT
    assert "not that of the certificate" in mismatch.found
    assert tls_files("TLS", certificate(tmp_path, "short.pem", key, 3), path, NOW).status is Status.WARNING
    assert "not valid now" in tls_files("TLS", good, path, NOW + timedelta(days=400)).found
    assert "not valid now" in tls_files("TLS", good, path, NOW - timedelta(days=2)).found
    assert tls_files("TLS", tmp_path / "missing.pem", path, NOW).status is Status.FAULT
    (tmp_path / "no.pem").write_text("no certificate")
    assert tls_files("TLS", tmp_path / "no.pem", path, NOW).status is Status.FAULT
    path.chmod(0o644)
    assert "chmod 600" in tls_files("TLS", good, path, NOW).advice


def test_an_encrypted_key_is_a_fault_and_asks_nobody_for_a_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    key = generate_private_key(SECP256R1())
    path = tmp_path / "tls.key"
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")))
    assert tls_files("TLS", certificate(tmp_path, "tls.pem", key), path, NOW).status is Status.FAULT
