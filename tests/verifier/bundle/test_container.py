"""The file of a bundle has one form, and every other one is refused."""

import io
import zipfile
from collections.abc import Callable

import pytest

from weightwarden.verifier.bundle.container import LIMITS, MANIFEST, pack, unpack
from weightwarden.verifier.bundle.errors import BundleError

MEMBERS = {name: f"content of {name}".encode() for name in LIMITS if name != MANIFEST}


def rezipped(change: Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], None]) -> bytes:
    """A bundle written again, each member by `change`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pack(MEMBERS, "1"))) as old, zipfile.ZipFile(stream, "w") as new:
        for entry in old.infolist():
            change(new, entry, old.read(entry))
    return stream.getvalue()


def test_the_same_members_make_the_same_bytes_and_come_back() -> None:
    packed = pack(MEMBERS, "1")
    assert packed == pack(dict(reversed(MEMBERS.items())), "1")
    assert {name: content for name, content in unpack(packed).items() if name != MANIFEST} == MEMBERS


def test_no_byte_can_change_and_none_can_be_cut_off_or_added() -> None:
    packed = pack(MEMBERS, "1")
    for at in range(0, len(packed), 3):
        changed = bytearray(packed)
        changed[at] ^= 1
        with pytest.raises(BundleError):
            unpack(bytes(changed))
    for other in (packed[:-1], packed[: len(packed) // 2], b"", b"x" + packed, packed + b"x"):
        with pytest.raises(BundleError):
            unpack(other)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "README.txt/../x", "C:\\x", "readme.txt"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    def renamed(new: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        new.writestr(name if entry.filename == "README.txt" else entry.filename, content)

    with pytest.raises(BundleError, match="its members are not"):
        unpack(rezipped(renamed))


def test_a_member_twice_or_one_more_is_refused() -> None:
    def twice(new: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        for _ in range(2 if entry.filename == "record.bin" else 1):
            new.writestr(entry, content)

    def more(new: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        new.writestr(entry, content)
        if entry.filename == "replay.json":
            new.writestr("more.bin", b"")

    with pytest.warns(UserWarning, match="Duplicate name"), pytest.raises(BundleError, match="its members are not"):
        unpack(rezipped(twice))
    with pytest.raises(BundleError, match="its members are not"):
        unpack(rezipped(more))


def test_a_compressed_member_is_refused_before_it_is_expanded() -> None:
    def bomb(new: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        if entry.filename == "replay.json":
            new.writestr(entry.filename, bytes(2**22), zipfile.ZIP_DEFLATED)
        else:
            new.writestr(entry, content)

    with pytest.raises(BundleError, match="is compressed"):
        unpack(rezipped(bomb))


def test_a_member_that_is_too_large_is_refused_on_both_sides() -> None:
    large = bytes(LIMITS["README.txt"] + 1)
    with pytest.raises(BundleError, match="README"):
        pack(MEMBERS | {"README.txt": large}, "1")

    def inflated(new: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        new.writestr(entry.filename, large if entry.filename == "README.txt" else content)

    with pytest.raises(BundleError, match=r"README.*: more than"):
        unpack(rezipped(inflated))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"bundle/1", b"bundle/2", "not of the format"),
        (b'"log.pub": "', b'"log.pub": "0', "its SHA-256"),
        (b'"log.pub"', b'"log"', "not the manifest"),
        (b"{", b"[", "not the manifest"),
    ],
)
def test_a_manifest_that_states_something_else_is_refused(old: bytes, new: bytes, said: str) -> None:
    def changed(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        archive.writestr(entry, content.replace(old, new) if entry.filename == MANIFEST else content)

    with pytest.raises(BundleError, match=said):
        unpack(rezipped(changed))


def test_missing_and_unknown_members_are_no_bundle() -> None:
    with pytest.raises(BundleError, match="has the members"):
        pack({name: content for name, content in MEMBERS.items() if name != "log.pub"}, "1")
    with pytest.raises(BundleError, match="has the members"):
        pack(MEMBERS | {"other": b""}, "1")
