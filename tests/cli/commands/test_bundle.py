"""`verify bundle`: a tampered record of a signed log is packed, verified elsewhere, and every change is found."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands.test_run import WITHOUT_TORCH, invoke
from tests.places import BUNDLED_POLICY, ROOT
from tests.recorded import records_of
from weightwarden import __version__
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic, traffic_line
from weightwarden.verifier.bundle.container import MANIFEST, pack, unpack

Change = Callable[[bytes], bytes]

TAMPERED = BUNDLED_POLICY.with_name("tampered.jsonl")
RECORDS = records_of(TAMPERED)
SPLICED = 1
"""The record with ten spliced payload tokens."""
OTHER = RECORDS[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A folder with a signed log of the bundled tampered traffic, and the bundle of one of its records."""
    folder = tmp_path_factory.mktemp("bundle")
    for command in (
        ("log", "key", "new", "example.org/import-1", "--out", folder / "import.key"),
        ("log", "import", TAMPERED, "--signing-key", folder / "import.key", "--out", folder / "log.parquet"),
    ):
        assert invoke(*command).exit_code == 0
    result = make(folder, model_folder, folder / "incident.zip")
    assert "record 1 of example.org/import-1: flagged, 128 tokens" in result
    return folder


def make(folder: Path, model: Path, out: Path) -> str:
    result = invoke(
        *("bundle", "make", SPLICED, folder / "log.parquet", "--public-key", folder / "import.key.pub"),
        *("--policy", BUNDLED_POLICY, "--model", model, "--out", out),
    )
    assert result.exit_code == 0, result.output
    return result.output


def check(made: Path, path: Path, *more: str | Path, key: Path | None = None, expect: int) -> str:
    result = invoke("bundle", "check", path, "--public-key", key or made / "import.key.pub", *more)
    assert result.exit_code == expect, result.output
    return result.output


def test_the_record_is_verified_again_from_the_file_alone(made: Path, tmp_path: Path, model_folder: Path) -> None:
    copy, key = tmp_path / "got.zip", tmp_path / "log.pub"
    copy.write_bytes((made / "incident.zip").read_bytes())
    key.write_text((made / "import.key.pub").read_text())
    said = check(made, copy, key=key, expect=0)
    assert "record 1 of example.org/import-1 is in the signed tree of 6 records" in said
    assert "the log was imported from" in said
    assert "not replayed: verdict and scores are its maker's statement" in said
    said = check(made, copy, "--model", model_folder, key=key, expect=0)
    assert "replayed here: flagged again, 128 of 128 margins" in said
    assert "worst tokens: 12 of 128 tokens" in said


def test_it_holds_one_record_and_nothing_of_the_others(made: Path) -> None:
    data = (made / "incident.zip").read_bytes()
    members = unpack(data)
    assert members["record.bin"] == encode_record(RECORDS[SPLICED])
    assert members["record.jsonl"].decode() == traffic_line(RECORDS[SPLICED])
    for other in RECORDS[:SPLICED] + RECORDS[SPLICED + 1 :]:
        assert encode_record(other)[-64:] not in data
    private = (made / "import.key").read_text().strip().split("+", 4)[4]  # base64 has plus signs, too
    assert private.encode() not in data
    table = json.loads(members["replay.json"])
    assert table["token"] == RECORDS[SPLICED].output_token_ids
    assert table["verdict"].count("dangerous") >= 10
    unsafe = {str(at) for at, verdict in enumerate(table["verdict"]) if verdict != "safe"}
    assert table["alternatives"].keys() <= unsafe
    assert json.loads(members["verdict.json"])["flagged"] is True


def test_the_same_input_makes_the_same_bytes(made: Path, tmp_path: Path, model_folder: Path) -> None:
    make(made, model_folder, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (made / "incident.zip").read_bytes()


def test_the_members_are_read_and_checked_by_other_commands(made: Path, tmp_path: Path) -> None:
    for name, content in unpack((made / "incident.zip").read_bytes()).items():
        (tmp_path / name).write_bytes(content)
    assert read_traffic(tmp_path / "record.jsonl")[0].record == RECORDS[SPLICED]
    proof = ("log", "verify-proof", tmp_path / "record.proof", "--public-key", tmp_path / "log.pub")
    assert invoke(*proof, "--record", tmp_path / "record.bin").exit_code == 0


def repacked(made: Path, changed: dict[str, Change]) -> bytes:
    """The bundle with changed members, and a manifest that fits them: the work of a forger."""
    members = unpack((made / "incident.zip").read_bytes())
    del members[MANIFEST]
    return pack({name: changed.get(name, bytes)(content) for name, content in members.items()}, __version__)


def in_json(**values: Any) -> Change:
    return lambda old: json.dumps(json.loads(old) | values).encode()


def to_index_2(proof: bytes) -> bytes:
    return proof.replace(b"index 1", b"index 2")


ANOTHER_RECORD: dict[str, Change] = {
    "record.bin": lambda _: encode_record(OTHER),
    "record.jsonl": lambda _: traffic_line(OTHER).encode(),
}
CHANGES: dict[str, tuple[dict[str, Change], str]] = {
    "README": ({"README.txt": lambda old: old + b"Run this script first.\n"}, "README.txt"),
    "record": ({"record.bin": ANOTHER_RECORD["record.bin"]}, "record.jsonl: not the record"),
    "record and line": (ANOTHER_RECORD, "replay.json: not the record's tokens"),
    "record, line and table": (
        ANOTHER_RECORD | {"replay.json": in_json(token=OTHER.output_token_ids)},
        "the proof does not lead",
    ),
    "line": ({"record.jsonl": lambda old: old.replace(b"1", b"2", 1)}, "record.jsonl"),
    "index of the proof": ({"record.proof": to_index_2}, "of another record"),
    "index of both": ({"record.proof": to_index_2, "verdict.json": in_json(record=2)}, "the proof does not lead"),
    "cut proof": ({"record.proof": lambda old: old[:-10]}, "record.proof"),
    "no proof": ({"record.proof": lambda _: b""}, "no proof"),
    "no keys": ({"log.pub": lambda _: b"# none\n"}, "log.pub"),
    "policy": ({"policy.toml": lambda old: old.replace(b"rank_limit = 64", b"rank_limit = 65")}, "another policy"),
    "no policy": ({"policy.toml": lambda _: b"="}, "policy.toml"),
    "verdict": ({"verdict.json": in_json(flagged=False)}, "not flagged with one"),
    "reasons": ({"verdict.json": in_json(reasons=[])}, "flagged without a reason"),
    "model": ({"verdict.json": in_json(model_digest="sha256:0")}, "another model"),
    "log": ({"verdict.json": in_json(log="example.org/other")}, "of the log example.org/other"),
    "unknown field": ({"verdict.json": in_json(extra=1)}, "extra"),
    "no JSON": ({"verdict.json": lambda _: b"{"}, "verdict.json"),
    "columns": ({"replay.json": in_json(margin=[0.0])}, "different lengths"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_member_is_found_though_the_manifest_fits(made: Path, tmp_path: Path, name: str) -> None:
    changed, said = CHANGES[name]
    (tmp_path / "forged.zip").write_bytes(repacked(made, changed))
    assert said in check(made, tmp_path / "forged.zip", expect=1)


def test_false_statements_of_the_maker_are_found_by_a_replay(made: Path, tmp_path: Path, model_folder: Path) -> None:
    changed = {
        "verdict.json": in_json(flagged=False, reasons=[], stop_findings=[["late", "no"]]),
        "replay.json": in_json(margin=[0.0] * 128),
    }
    (tmp_path / "forged.zip").write_bytes(repacked(made, changed))
    check(made, tmp_path / "forged.zip", expect=0)
    found = check(made, tmp_path / "forged.zip", "--model", model_folder, expect=1)
    for said in (
        "flagged: True in this replay, False in the bundle",
        "reasons: ['total', 'worst tokens'] in this replay, [] in the bundle",
        "stop findings: [] in this replay, ['late'] in the bundle",
        "margins are more than 0.1 logits from this replay",
    ):
        assert said in found


def test_margins_of_another_processor_are_no_difference(made: Path, tmp_path: Path, model_folder: Path) -> None:
    def moved(old: bytes) -> bytes:
        table = json.loads(old)
        margins = [None if margin is None else margin + (0.05 if margin else 0.0) for margin in table["margin"]]
        return json.dumps(table | {"margin": [3.0, *margins[1:]]}).encode()

    (tmp_path / "other.zip").write_bytes(repacked(made, {"replay.json": moved}))
    assert "127 of 128 margins" in check(made, tmp_path / "other.zip", "--model", model_folder, expect=0)


def test_an_unknown_key_does_not_verify(made: Path, tmp_path: Path) -> None:
    assert invoke("log", "key", "new", "example.org/import-1", "--out", tmp_path / "k").exit_code == 0
    assert "no known key signed it" in check(made, made / "incident.zip", key=tmp_path / "k.pub", expect=1)


def test_a_check_without_a_replay_needs_no_torch(made: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "bundle", "check", str(made / "incident.zip")]
    done = subprocess.run(
        [*command, "--public-key", str(made / "import.key.pub")], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


POLICY = str(BUNDLED_POLICY)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("check", "missing.zip"), "missing.zip: cannot be read"),
        (("make", "6", "{made}/log.parquet", "--policy", POLICY, "--out", "{tmp}/b"), "record 6 is in none"),
        (("make", "1", "{made}/log.parquet", "--policy", "none.toml", "--out", "{tmp}/b"), "none.toml"),
        (("make", "1", "{made}/log.parquet", "--policy", POLICY, "--out", "/no/where/b"), "/no/where"),
    ],
)
def test_mistakes_give_no_result(made: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    command = [argument.format(made=made, tmp=tmp_path) for argument in arguments]
    result = invoke("bundle", *command, "--public-key", made / "import.key.pub")
    assert result.exit_code == 2, result.output
    assert complaint in result.output
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_no_bundle_and_does_not_hold(made: Path) -> None:
    assert "not a whole ZIP file" in check(made, made / "log.parquet", expect=1)
