"""`verify log verify-proof` against what `verify log prove` writes, and against forgeries of it."""

import base64
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.commands.log.test_log import Logs
from tests.cli.commands.test_run import invoke
from tests.recorded import FILTERED, GREEDY, records_of
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.tlog.merkle import leaf_hash

RECORDS = records_of(GREEDY) + records_of(FILTERED)


@dataclass
class Proved:
    """A record of a log with its proof, as files."""

    logs: Logs
    proof: Path
    record: Path

    def verify(self, *more: str | Path, expect: int) -> str:
        result = invoke("log", "verify-proof", self.proof, "--public-key", self.logs.public, *more)
        assert result.exit_code == expect, result.output
        return result.output

    def lines(self) -> list[str]:
        return self.proof.read_text().split("\n")


@pytest.fixture
def proved(tmp_path: Path) -> Proved:
    logs = Logs(tmp_path)
    logs.append(5)
    logs.seal()
    logs.append(4)
    logs.seal()
    found = Proved(logs, tmp_path / "record-6.proof", tmp_path / "record-6")
    found.proof.write_text(invoke("log", "prove", 6, logs.archives, "--public-key", logs.public).stdout)
    found.record.write_bytes(encode_record(RECORDS[6]))
    return found


def test_a_proof_holds_for_the_records_bytes_its_line_and_its_leaf_hash(proved: Proved, tmp_path: Path) -> None:
    line = tmp_path / "one.jsonl"
    shown = ("log", "show", proved.logs.archives, "--public-key", proved.logs.public, "--record", 6)
    line.write_text(invoke(*shown).output)
    leaf = leaf_hash(proved.record.read_bytes()).hex()
    for given in (("--record", proved.record), ("--record", line), ("--leaf-hash", leaf)):
        said = proved.verify(*given, expect=0)
        assert "the record is record 6 of example.org/log" in said
        assert leaf in said


def test_a_proof_does_not_hold_for_another_record(proved: Proved) -> None:
    proved.record.write_bytes(encode_record(RECORDS[7]))
    assert "does NOT hold: the proof does not lead" in proved.verify("--record", proved.record, expect=1)


@pytest.mark.parametrize("index", [0, 5, 7, 8, 9, 2**62])
def test_a_proof_does_not_hold_for_another_index(proved: Proved, index: int) -> None:
    lines = proved.lines()
    assert lines[1] == "index 6"
    proved.proof.write_text("\n".join([lines[0], f"index {index}", *lines[2:]]))
    assert "does NOT hold" in proved.verify("--record", proved.record, expect=1)


def test_no_part_of_a_proof_can_be_left_out(proved: Proved) -> None:
    whole = proved.proof.read_bytes()
    for end in range(len(whole)):
        proved.proof.write_bytes(whole[:end])
        assert "does NOT hold" in proved.verify("--record", proved.record, expect=1)


def test_no_line_of_a_path_can_be_left_out_changed_or_added(proved: Proved) -> None:
    lines = proved.lines()
    last = lines.index("")
    assert last > 3
    other = base64.b64encode(b"\1" * 32).decode()
    for at in range(2, last):
        for changed in (lines[:at] + lines[at + 1 :], [*lines[:at], other, *lines[at + 1 :]]):
            proved.proof.write_text("\n".join(changed))
            proved.verify("--record", proved.record, expect=1)
    for added in (other, base64.b64encode(b"short").decode(), "=", "extra AAAA", "index 6"):
        proved.proof.write_text("\n".join([*lines[:last], added, *lines[last:]]))
        proved.verify("--record", proved.record, expect=1)


def test_a_proof_under_an_unknown_key_does_not_hold(proved: Proved, tmp_path: Path) -> None:
    assert invoke("log", "key", "new", "example.org/log", "--out", tmp_path / "other").exit_code == 0
    result = invoke(
        *("log", "verify-proof", proved.proof, "--public-key", tmp_path / "other.pub", "--record", proved.record)
    )
    assert result.exit_code == 1
    assert "no known key signed it" in result.output


def test_a_checkpoint_with_a_changed_byte_does_not_hold(proved: Proved) -> None:
    text = proved.proof.read_text()
    proved.proof.write_text(text.replace("\n\nexample.org/log\n9\n", "\n\nexample.org/log\n8\n"))
    assert "does not hold" in proved.verify("--record", proved.record, expect=1)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ((), "one of --record and --leaf-hash"),
        (("--leaf-hash", "00" * 31), "not 64 hexadecimal digits"),
        (("--leaf-hash", "xy"), "not 64 hexadecimal digits"),
        (("--record", "missing"), "missing: cannot be read"),
        (("--record", str(GREEDY)), "neither one line of a traffic file"),
        (("--record", str(GREEDY), "--leaf-hash", "00" * 32), "one of --record and --leaf-hash"),
    ],
)
def test_mistakes_give_no_result(proved: Proved, more: tuple[str, ...], complaint: str) -> None:
    assert complaint in proved.verify(*more, expect=2)
    proved.proof.unlink()
    proved.verify("--record", proved.record, expect=2)
