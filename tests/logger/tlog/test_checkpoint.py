import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.tlog.checkpoint import Checkpoint, CheckpointError, open_checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import EMPTY_ROOT, leaf_hash
from weightwarden.logger.tlog.signed_note import NoteError, SignatureError, sign_note

ORIGIN = "example.org/log"
KEY = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
WITNESS = SigningKey("witness.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
KEYS = PublicKeys(KEY.verifier)
ROOT = leaf_hash(b"")
CHECKPOINT = Checkpoint(ORIGIN, 1, ROOT)
SIGNED = sign_checkpoint(CHECKPOINT, [KEY])


def test_the_text_is_origin_size_and_root() -> None:
    assert CHECKPOINT.text() == f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()}\n"
    assert open_checkpoint(SIGNED, KEYS) == CHECKPOINT


@given(
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), max_size=3),
)
def test_any_checkpoint_comes_back(size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.text()) == checkpoint
    assert open_checkpoint(sign_checkpoint(checkpoint, [KEY]), KEYS) == checkpoint


def test_every_single_byte_change_is_refused() -> None:
    for at in range(len(SIGNED)):
        for value in range(256):
            if value != SIGNED[at]:
                with pytest.raises(NoteError):
                    open_checkpoint(SIGNED[:at] + bytes([value]) + SIGNED[at + 1 :], KEYS)


@pytest.mark.parametrize(
    "size", ["", "-1", "+1", "01", "1.0", "1e3", "0x1", " 1", "1 ", "\u0661", str(2**63), "9" * 30]
)
def test_sizes_that_are_not_canonical_are_refused(size: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(CHECKPOINT.text().replace("\n1\n", f"\n{size}\n"))


def test_roots_that_are_not_canonical_are_refused() -> None:
    root = base64.b64encode(ROOT).decode()
    other_last = {"E": "F", "A": "B", "Q": "R", "U": "V", "Y": "Z", "0": "1", "8": "9", "4": "5", "s": "t", "w": "x"}
    for bad in (
        root[:-1],
        root[:-2] + other_last.get(root[-2], "B") + "=",
        root + "=",
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        base64.b64encode(ROOT[:-1]).decode(),
        base64.b64encode(ROOT + b"x").decode(),
        "",
        root + " ",
    ):
        with pytest.raises(CheckpointError):
            Checkpoint.parse(CHECKPOINT.text().replace(root, bad))


@pytest.mark.parametrize(
    "text", ["", "\n", ORIGIN, f"{ORIGIN}\n", f"{ORIGIN}\n1\n", CHECKPOINT.text() + "\n", "\n" + CHECKPOINT.text()]
)
def test_texts_that_are_not_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(text)


def test_the_empty_tree_has_the_empty_root() -> None:
    assert Checkpoint.parse(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text()).size == 0
    with pytest.raises(CheckpointError):
        Checkpoint(ORIGIN, 0, ROOT)


@pytest.mark.parametrize(
    "origin", ["", "a b", "a+b", "a\u2003b", "a\x1bb", "a\u202eb", "x" * 257, "weightwarden-archive/1"]
)
def test_origins_that_no_key_can_have_are_refused(origin: str) -> None:
    with pytest.raises(CheckpointError, match="origin"):
        Checkpoint.parse(CHECKPOINT.text().replace(ORIGIN, origin))


@pytest.mark.parametrize("extension", ["", "a\nb", "a\tb", "a\x1b[2Jb", "a\u202eb", "\ud800"])
def test_extensions_that_cannot_be_shown_as_one_line_are_refused(extension: str) -> None:
    with pytest.raises(CheckpointError, match="extension"):
        Checkpoint(ORIGIN, 1, ROOT, ("before", extension))


def test_an_extension_without_its_line_end_is_refused() -> None:
    with pytest.raises(CheckpointError, match="canonical"):
        Checkpoint.parse(CHECKPOINT.text() + "extension")


@pytest.mark.parametrize("size", [-1, 2**63])
def test_no_tree_has_a_size_below_zero_or_beyond_what_is_stored(size: int) -> None:
    with pytest.raises(CheckpointError, match="size"):
        Checkpoint(ORIGIN, size, ROOT)


def test_only_a_key_of_its_origin_signs_a_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="does not sign for"):
        sign_checkpoint(CHECKPOINT, [WITNESS])
    both = PublicKeys(KEY.verifier, WITNESS.verifier)
    with pytest.raises(SignatureError, match="did not sign it"):
        open_checkpoint(sign_note(CHECKPOINT.text(), [WITNESS]), both)
    assert open_checkpoint(sign_note(CHECKPOINT.text(), [WITNESS, KEY]), both) == CHECKPOINT


def test_a_signature_does_not_carry_over_to_another_checkpoint() -> None:
    other = sign_checkpoint(Checkpoint(ORIGIN, 2, ROOT), [KEY])
    mixed = other.split(b"\n\n")[0] + b"\n\n" + SIGNED.split(b"\n\n")[1]
    with pytest.raises(SignatureError):
        open_checkpoint(mixed, KEYS)


def test_a_signed_note_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError):
        open_checkpoint(sign_note("weightwarden-archive/1\nexample.org/log\nAAAA\n", [KEY]), KEYS)
