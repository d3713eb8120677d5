import base64
import hashlib
import os
import pickle
import resource
import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey, VerifierKey

NAME = "example.org/log"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
KEY = SigningKey(NAME, PRIVATE)
SECRET = base64.b64encode(b"\x01" + bytes(range(32))).decode()


def vkey(name: str = NAME, algorithm: bytes = b"\x01", public: bytes = PUBLIC) -> str:
    """A verifier key by the words of c2sp.org/signed-note."""
    key_id = hashlib.sha256(name.encode() + b"\n" + algorithm + public).digest()[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(algorithm + public).decode()}"


def test_a_public_key_is_written_as_signed_notes_write_it() -> None:
    assert str(KEY.verifier) == vkey()
    assert VerifierKey.parse(vkey()) == KEY.verifier


def test_a_key_of_another_project_parses() -> None:
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert VerifierKey.parse(text).name == "sum.golang.org"
    assert str(VerifierKey.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        vkey(algorithm=b"\x02"),
        vkey(public=PUBLIC[:-1]),
        vkey(public=PUBLIC + b"x"),
        vkey() + " ",
        vkey()[:-1],
        vkey().replace("+", "+0", 1),
        vkey().replace(NAME, "other"),
        vkey().replace(KEY.verifier.key_id.hex(), KEY.verifier.key_id.hex().upper()),
        vkey(name="a b"),
        vkey(name="a\u2003b"),
        vkey(name="a\nb"),
        vkey(name="a\u202eb"),
        vkey(name=""),
        vkey(name="x" * 257),
        vkey(name="weightwarden-archive/1"),
    ],
)
def test_texts_that_are_not_public_keys_are_refused(text: str) -> None:
    with pytest.raises(KeyFileError):
        VerifierKey.parse(text)


def test_every_single_character_change_of_a_public_key_is_refused() -> None:
    for at, old in enumerate(vkey()):
        for new in "aA0+/= \n":
            if new != old:
                with pytest.raises(KeyFileError):
                    VerifierKey.parse(vkey()[:at] + new + vkey()[at + 1 :])


def test_a_signing_key_comes_back_from_its_file_which_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "k"
    key = SigningKey.generate(NAME)
    key.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = SigningKey.read(path)
    assert again.verifier == key.verifier
    assert key.verifier.holds(again.sign(b"text"), b"text")
    assert not key.verifier.holds(again.sign(b"text"), b"other")


@pytest.mark.parametrize("name", ["", "a+b", "a b", "a\nb", "a\u202eb", "x" * 257, "weightwarden-archive/1"])
def test_no_key_is_made_with_a_name_that_a_note_cannot_hold(name: str) -> None:
    with pytest.raises(KeyFileError, match="name"):
        SigningKey.generate(name)


def test_a_written_key_and_its_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def recorded(handle: int) -> None:
        fsync(handle)
        synced.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", recorded)
    KEY.write(tmp_path / "k")
    assert synced == [(tmp_path / "k").stat().st_ino, tmp_path.stat().st_ino]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k"
    KEY.write(path)
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        SigningKey.generate(NAME).write(path)
    assert path.read_bytes() == before


def test_a_key_that_cannot_be_written_whole_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "k"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(KeyFileError, match="cannot be written"):
            KEY.write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not path.exists()
    KEY.write(path)
    assert SigningKey.read(path).verifier == KEY.verifier


def test_a_signing_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    KEY.write(path)
    for mode in (0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o601):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match="chmod 600"):
            SigningKey.read(path)


def test_nothing_shows_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "k"
    KEY.write(path)
    assert SECRET in path.read_text()
    assert SECRET not in repr(KEY) + str(KEY)
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    public = tmp_path / "public"
    public.write_text(path.read_text())
    for broken in (path.read_text()[:-5] + "\n", path.read_text().replace(NAME, "other"), path.read_text() * 2):
        path.write_text(broken)
        with pytest.raises(KeyFileError) as caught:
            SigningKey.read(path)
        assert SECRET[:12] not in str(caught.value)
        assert str(path) in str(caught.value)
    with pytest.raises(KeyFileError, match="a private key where a public key is wanted") as caught:
        PublicKeys.read(public)
    assert SECRET[:12] not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"x" * 70_000, b"PRIVATE+KEY+\n", b"hello\n", vkey().encode()])
def test_files_that_hold_no_signing_key_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=str(path)):
        SigningKey.read(path)


def test_a_file_of_public_keys_holds_several_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "public"
    other = SigningKey.generate(NAME).verifier
    marked = VerifierKey("log#7", PUBLIC)
    path.write_text(f"# the old one\n{vkey()}\n\n# the new one\n{other}\n{marked}\n")
    keys = PublicKeys.read(path)
    assert set(keys) == {KEY.verifier, other, marked}
    assert len(keys) == 3
    assert keys.find(NAME, other.key_id) == other
    assert keys.find("another", other.key_id) is None


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_a_comment_ends_only_where_its_line_does(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "public"
    hidden = SigningKey.generate(NAME).verifier
    path.write_bytes(f"{vkey()}\n# a comment{separator}{hidden}\n".encode())
    assert list(PublicKeys.read(path)) == [KEY.verifier]


def test_keys_are_found_by_name_and_id_and_none_replaces_another() -> None:
    other = SigningKey("another", PRIVATE).verifier
    again = SigningKey.generate(NAME).verifier
    keys = PublicKeys(KEY.verifier, other, again)
    for key in keys:
        assert keys.find(key.name, key.key_id) == key
    assert keys.find(NAME, other.key_id) is None
    collision = VerifierKey(NAME, again.public)
    collision.key_id = KEY.verifier.key_id
    for twice in ([KEY.verifier, KEY.verifier], [KEY.verifier, collision]):
        with pytest.raises(KeyFileError, match="twice"):
            PublicKeys(*twice)


def test_the_most_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "public"
    path.write_text("\n".join(vkey(name=f"n{i}") for i in range(64)))
    assert len(PublicKeys.read(path)) == 64


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "no public key"),
        ("# nothing\n", "no public key"),
        (f"{vkey()}\n{vkey()}\n", "twice"),
        (f"{vkey()}\nrubbish\n", ":2:"),
        ("\n".join(vkey(name=f"n{i}") for i in range(65)), "more than"),
        (f"{vkey()}\n" + "#" * 70_000, "more than"),
    ],
)
def test_files_of_public_keys_that_cannot_be_used_are_refused(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "public"
    path.write_text(content)
    with pytest.raises(KeyFileError, match=complaint):
        PublicKeys.read(path)


def test_files_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    for read in (SigningKey.read, PublicKeys.read):
        with pytest.raises(KeyFileError, match="nothing-here"):
            read(tmp_path / "nothing-here")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(KeyFileError, match="UTF-8"):
        PublicKeys.read(tmp_path / "binary")
    with pytest.raises(KeyFileError, match="cannot be written"):
        KEY.write(tmp_path / "no" / "folder")
