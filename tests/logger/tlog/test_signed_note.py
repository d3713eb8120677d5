import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.signed_note import MAX_NOTE_BYTES, NoteError, SignatureError, open_note, sign_note

TEXT = "If you think cryptography is the answer\nto your problem.\n"
ALICE = SigningKey("alice", Ed25519PrivateKey.from_private_bytes(b"a" * 32))
BOB = SigningKey("bob", Ed25519PrivateKey.from_private_bytes(b"b" * 32))
ALICE_AGAIN = SigningKey("alice", Ed25519PrivateKey.from_private_bytes(b"c" * 32))
KNOWN = PublicKeys(ALICE.verifier)
NOTE = sign_note(TEXT, [ALICE])


def line(key: SigningKey, text: str = TEXT, name: str | None = None, key_id: bytes | None = None) -> bytes:
    """A signature line by the words of c2sp.org/signed-note."""
    data = (key_id or key.verifier.key_id) + key.sign(text.encode())
    return f"\u2014 {name or key.name} {base64.b64encode(data).decode()}\n".encode()


def test_a_note_is_text_blank_line_and_signatures() -> None:
    assert TEXT.encode() + b"\n" + line(ALICE) == NOTE
    opened = open_note(NOTE, KNOWN)
    assert (opened.text, opened.signed_by) == (TEXT, (ALICE.verifier,))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(lambda text: text + "\n"))
def test_any_text_comes_back(text: str) -> None:
    assert open_note(sign_note(text, [BOB, ALICE]), KNOWN).text == text


def test_every_single_byte_change_is_refused() -> None:
    for at in range(len(NOTE)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            broken = bytearray(NOTE)
            broken[at] ^= flip
            with pytest.raises(NoteError):
                open_note(bytes(broken), KNOWN)


def test_every_missing_or_doubled_byte_is_refused() -> None:
    for at in range(len(NOTE)):
        for broken in (NOTE[:at] + NOTE[at + 1 :], NOTE[:at] + NOTE[at : at + 1] + NOTE[at:]):
            with pytest.raises(NoteError):
                open_note(broken, KNOWN)


def test_signatures_of_unknown_keys_are_passed_over_and_do_not_suffice() -> None:
    both = sign_note(TEXT, [BOB, ALICE])
    assert open_note(both, KNOWN).signed_by == (ALICE.verifier,)
    assert set(open_note(both, PublicKeys(ALICE.verifier, BOB.verifier)).signed_by) == {ALICE.verifier, BOB.verifier}
    for stranger in (BOB, ALICE_AGAIN):
        with pytest.raises(SignatureError, match="no known key"):
            open_note(sign_note(TEXT, [stranger]), KNOWN)


def test_keys_rotate_by_signing_with_both() -> None:
    note = sign_note(TEXT, [ALICE, ALICE_AGAIN])
    for known in ([ALICE], [ALICE_AGAIN], [ALICE, ALICE_AGAIN]):
        signed_by = open_note(note, PublicKeys(*(key.verifier for key in known))).signed_by
        assert list(signed_by) == [key.verifier for key in known]


def test_a_known_key_whose_signature_does_not_hold_refuses_the_note_whoever_else_signed() -> None:
    forged = TEXT.encode() + b"\n" + line(BOB) + line(ALICE, text="another text\n")
    with pytest.raises(SignatureError, match="alice"):
        open_note(forged, PublicKeys(ALICE.verifier, BOB.verifier))


def test_a_signature_does_not_pass_under_another_name_or_id() -> None:
    for forged in (
        line(BOB, name="alice"),
        line(BOB, name="alice", key_id=ALICE.verifier.key_id),
        line(ALICE, name="bob"),
    ):
        with pytest.raises(SignatureError):
            open_note(TEXT.encode() + b"\n" + forged, PublicKeys(ALICE.verifier, BOB.verifier))


def test_an_unknown_algorithm_is_an_unknown_key_even_with_a_valid_signature() -> None:
    # A key id of algorithm 2 differs, so that no key of ours is found for it.

    other_id = hashlib.sha256(b"alice\n\x02" + ALICE.verifier.public).digest()[:4]
    with pytest.raises(SignatureError, match="no known key"):
        open_note(TEXT.encode() + b"\n" + line(ALICE, key_id=other_id), KNOWN)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        TEXT.encode(),
        TEXT.encode() + b"\n",
        b"\n" + line(ALICE),
        b"no line end" + b"\n" + line(ALICE),
        NOTE + b"\n",
        NOTE + b"x",
        NOTE[:-1],
        NOTE + NOTE,
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"\xe2\x80\x94", b"-"),
        NOTE.replace(b"\xe2\x80\x94 ", b"\xe2\x80\x94  "),
        NOTE.replace(b"alice", b"al+ce"),
        NOTE.replace(b"alice", b"alice\xe2\x80\x83"),
        NOTE.replace(b"you", b"y\x00u"),
        NOTE.replace(b"you", b"y\tu"),
        NOTE.replace(b"you", b"y\xffu"),
        NOTE + line(ALICE),
        TEXT.encode() + b"\n\xe2\x80\x94 alice AAAA\n",
        TEXT.encode() + b"\n\xe2\x80\x94 alice AAA\n",
        TEXT.encode() + b"\n\xe2\x80\x94 alice AAAAAAB=\n",
        TEXT.encode() + b"\n" + line(BOB) * 65,
        b"x" * (MAX_NOTE_BYTES + 1),
    ],
)
def test_what_is_not_a_signed_note_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        open_note(data, KNOWN)


@given(st.binary(max_size=300) | st.binary(max_size=50).map(lambda tail: NOTE + tail))
def test_arbitrary_bytes_are_refused_or_the_note(data: bytes) -> None:
    try:
        opened = open_note(data, KNOWN)
    except NoteError:
        return
    assert opened.text == TEXT


@pytest.mark.parametrize("text", ["", "\n", "no line end", "a\tb\n", "a\x00\n", "a\r\n"])
def test_texts_that_cannot_be_signed_are_refused(text: str) -> None:
    with pytest.raises(NoteError):
        sign_note(text, [ALICE])


def test_what_would_not_open_is_not_signed() -> None:
    many = [SigningKey("alice", Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32)) for i in range(65)]
    for signers in ([], [ALICE, ALICE], [ALICE, BOB, ALICE], many):
        with pytest.raises(NoteError, match="sign"):
            sign_note(TEXT, signers)
    for text in ("x" * MAX_NOTE_BYTES + "\n", "\ud800\n"):
        with pytest.raises(NoteError):
            sign_note(text, [ALICE])


def test_the_largest_note_and_the_most_signatures_open() -> None:
    length = MAX_NOTE_BYTES - len(sign_note("\n\n", [ALICE])) + 1
    largest = sign_note("x" * length + "\n", [ALICE])
    assert len(largest) == MAX_NOTE_BYTES
    assert open_note(largest, KNOWN).signed_by == (ALICE.verifier,)
    with pytest.raises(NoteError, match="more than"):
        open_note(largest, KNOWN, max_bytes=len(largest) - 1)
    most = TEXT.encode() + b"\n" + line(BOB) * 63 + line(ALICE)
    assert open_note(most, KNOWN).signed_by == (ALICE.verifier,)
    with pytest.raises(NoteError, match="65 signatures"):
        open_note(most + line(BOB), KNOWN)


@pytest.mark.parametrize("control", ["\x00", "\x07", "\x1b[2J", "\x1f", "\x7f"])
def test_a_control_character_in_an_unknown_signers_name_refuses_the_note(control: str) -> None:
    with pytest.raises(NoteError, match="malformed"):
        open_note(NOTE + line(BOB, name=f"b{control}b"), KNOWN)


@pytest.mark.parametrize("control", [*map(chr, range(10)), *map(chr, range(11, 32)), "\x7f"])
def test_a_control_character_in_the_text_refuses_the_note_whoever_signed_it(control: str) -> None:
    text = f"a{control}b\n"
    with pytest.raises(NoteError, match="control characters"):
        open_note(text.encode() + b"\n" + line(ALICE, text=text), KNOWN)


@pytest.mark.parametrize(
    ("strange", "complaint"),
    [
        (b"\xe2\x80\x94 stranger AAAAAA==\n", "cut off"),
        (b"\xe2\x80\x94 stranger AAAAAAB=\n", "not canonical"),
        (b"\xe2\x80\x94 stranger AAAAAAA\n", "not base64"),
        (b"\xe2\x80\x94 stran+er AAAAAAA=\n", "malformed"),
        (b"\xe2\x80\x94 stran\xe2\x80\x83er AAAAAAA=\n", "malformed"),
        (b"\xe2\x80\x94  AAAAAAA=\n", "malformed"),
        (b"\xe2\x80\x94 stranger AAAAAAA=\r\n", "malformed"),
        (b"\xe2\x80\x94 stranger AAAAAAA=", "malformed"),
        (b"- stranger AAAAAAA=\n", "malformed"),
    ],
)
def test_a_malformed_line_of_an_unknown_signer_refuses_the_note(strange: bytes, complaint: str) -> None:
    assert open_note(NOTE + b"\xe2\x80\x94 stranger AAAAAAA=\n", KNOWN).signed_by == (ALICE.verifier,)
    with pytest.raises(NoteError, match=complaint):
        open_note(NOTE + strange, KNOWN)


def test_text_that_looks_like_signatures_stays_text() -> None:
    text = TEXT + "\n" + line(BOB).decode()
    opened = open_note(sign_note(text, [ALICE]), PublicKeys(ALICE.verifier, BOB.verifier))
    assert (opened.text, opened.signed_by) == (text, (ALICE.verifier,))
