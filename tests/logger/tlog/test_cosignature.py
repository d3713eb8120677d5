from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.logger.witness import StrictWitness
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from weightwarden.logger.tlog.cosignature import (
    Quorum,
    QuorumError,
    WitnessKey,
    WitnessKeys,
    recorded_cosignature,
    with_cosignatures,
)
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey, VerifierKey
from weightwarden.logger.tlog.signed_note import NoteError, SignatureError, parse_signature_lines

KEY = SigningKey.generate("example.org/log")
TEXT = Checkpoint("example.org/log", 7, b"r" * 32).text()
NOTE = sign_checkpoint(Checkpoint.parse(TEXT), [KEY])
WITNESSES = [StrictWitness(f"witness.example/w{i}", {}, clock=lambda: 1_700_000_000.0) for i in range(3)]
LISTED = WitnessKeys(*(WitnessKey.parse(one.vkey) for one in WITNESSES))

# The witness, the checkpoint and its two signatures from the example of c2sp.org/tlog-cosignature.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\N{EM DASH} example.com/behind-the-sofa"
    " Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\N{EM DASH} witness.example.com/w1"
    " jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def test_the_line_of_the_specifications_example_has_the_parts_that_its_text_states() -> None:
    _, line = parse_signature_lines(EXAMPLE.decode().split("\n\n")[1])
    assert line.name == "witness.example.com/w1"
    assert len(line.signature) == WitnessKey.signature_bytes
    assert int.from_bytes(line.signature[:8], "big") == 1679315147
    assert WitnessKeys().cosignatures(EXAMPLE) == []


def cosigned(*witnesses: StrictWitness, text: str = TEXT, seconds: int | None = None) -> bytes:
    return NOTE + b"".join(one.line(text.encode(), seconds) for one in witnesses)


def test_cosignatures_of_listed_witnesses_are_found_and_others_ignored() -> None:
    stranger = StrictWitness("witness.example/unknown", {})
    found = LISTED.cosignatures(cosigned(WITNESSES[2], stranger, WITNESSES[0]))
    assert [one.witness.name for one in found] == ["witness.example/w2", "witness.example/w0"]
    assert {one.time for one in found} == {1_700_000_000}
    assert open_checkpoint(cosigned(*WITNESSES), PublicKeys(KEY.verifier)).size == 7
    assert with_cosignatures(NOTE, [one.line for one in found]) == cosigned(WITNESSES[2], WITNESSES[0])


@pytest.mark.parametrize(
    "text", [TEXT.replace("\n7\n", "\n8\n"), TEXT.replace("example.org", "example.com"), TEXT + "extension\n"]
)
def test_a_cosignature_of_another_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(SignatureError, match=r"the cosignature of witness\.example/w0\+[0-9a-f]{8} does not hold"):
        LISTED.cosignatures(cosigned(WITNESSES[0], text=text))


@given(st.integers(0, 71), st.integers(1, 255))
def test_a_cosignature_with_any_other_byte_is_refused(at: int, change: int) -> None:
    (line,) = parse_signature_lines(WITNESSES[0].line(TEXT.encode()).decode())
    signature = bytearray(line.signature)
    signature[at] ^= change
    with pytest.raises(SignatureError):
        LISTED.verified(TEXT, [line._replace(signature=bytes(signature))])


def test_a_cosignature_cut_short_or_of_an_impossible_time_is_refused() -> None:
    (line,) = parse_signature_lines(WITNESSES[0].line(TEXT.encode()).decode())
    for broken in (line.signature[:-1], line.signature[:8], line.signature[:4], line.signature + b"x"):
        with pytest.raises(SignatureError):
            LISTED.verified(TEXT, [line._replace(signature=broken)])
    with pytest.raises(SignatureError):
        LISTED.cosignatures(cosigned(WITNESSES[0], seconds=2**63))
    assert LISTED.cosignatures(cosigned(WITNESSES[0], seconds=2**63 - 1))[0].time == 2**63 - 1


def test_a_witness_counts_once() -> None:
    with pytest.raises(NoteError, match="two cosignatures"):
        LISTED.cosignatures(cosigned(WITNESSES[0], WITNESSES[0]))
    first = WitnessKey.parse(WITNESSES[0].vkey)
    with pytest.raises(KeyFileError, match="twice"):
        WitnessKeys(first, WitnessKey("witness.example/second-name", first.public))
    with pytest.raises(KeyFileError, match="twice"):
        WitnessKeys(first, WitnessKey(first.name, WitnessKey.parse(WITNESSES[1].vkey).public))


def test_a_logs_key_is_no_witness_and_a_witness_no_log(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="not of the algorithm Ed25519 cosignature"):
        WitnessKey.parse(str(KEY.verifier))
    with pytest.raises(KeyFileError, match=r"not of the algorithm Ed25519 \(1\)"):
        VerifierKey.parse(WITNESSES[0].vkey)
    listed = tmp_path / "witnesses"
    listed.write_text("# ours\n" + "".join(f"{one.vkey}\n" for one in WITNESSES) + str(KEY.verifier))
    with pytest.raises(KeyFileError, match="witnesses:5: the key is not"):
        WitnessKeys.read(listed)
    listed.write_text(f"{WITNESSES[0].vkey}\n" * 2)
    with pytest.raises(KeyFileError, match="lists a witness twice"):
        WitnessKeys.read(listed)


@pytest.mark.parametrize(("least", "valid"), [(1, False), (2, True), (3, True), (4, False)])
def test_a_quorum_is_more_than_half_of_the_witnesses(least: int, valid: bool) -> None:
    if valid:
        assert Quorum(LISTED, least).least == least
    else:
        with pytest.raises(QuorumError):
            Quorum(LISTED, least)


def test_without_a_majority_honest_witnesses_would_cosign_two_histories() -> None:
    """The attack that the majority prevents: each history is cosigned by other honest witnesses."""
    four = [StrictWitness(f"w{i}", {KEY.name: KEY.verifier.public}) for i in range(4)]
    for number, witness in enumerate(four):
        root = b"a" * 32 if number < 2 else b"b" * 32
        note = sign_checkpoint(Checkpoint(KEY.name, 5, root), [KEY])
        assert witness.add_checkpoint(b"old 0\n\n" + note)[0] == 200
    listed = WitnessKeys(*(WitnessKey.parse(one.vkey) for one in four))
    with pytest.raises(QuorumError, match="require at least 3"):
        Quorum(listed, 2)
    assert Quorum(listed, 3).missing([]) == "0 of 4 witnesses cosigned it (none), and 3 are required"


def test_a_recorded_cosignature_counts_only_if_it_holds() -> None:
    line, other = (WITNESSES[0].line(text.encode()).decode() for text in (TEXT, TEXT.replace("\n7\n", "\n8\n")))
    assert recorded_cosignature(TEXT, WITNESSES[0].vkey, line) is not None
    assert recorded_cosignature(TEXT, WITNESSES[0].vkey, other) is None
    assert recorded_cosignature(TEXT, WITNESSES[1].vkey, line) is None
    assert recorded_cosignature(TEXT, "no key", line) is None
    assert recorded_cosignature(TEXT, WITNESSES[0].vkey, "no line") is None
