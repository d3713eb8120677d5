import json
import os
from pathlib import Path

import pytest

from tests.cli.commands.test_run import invoke
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, GREEDY, records_of
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.files.private import write_private
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.audit_selection import AuditDraw

ORIGIN = "example.org/log"


class Logs:
    """A folder with keys, and a log that grows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key, self.public = folder, folder / "key", folder / "key.pub"
        self.log, self.archives, self.seen = folder / "log.db", folder / "archives", folder / "seen"
        self.archives.mkdir()
        assert invoke("log", "key", "new", ORIGIN, "--out", self.key).exit_code == 0

    def append(self, records: int) -> None:
        with LogWriter.open(str(self.log), origin=ORIGIN) as writer:
            done = writer.size
            for record in (records_of(GREEDY) + records_of(FILTERED))[done : done + records]:
                writer.append(encode_record(record)).result(60)

    def write_audit_key(self, rate: float, wanted: int) -> Path:
        """A file with a key under which an audit draws as many records as wanted, and some of each archive."""
        keys = PublicKeys.read(self.public)
        archives = [read_archive(str(found), keys) for found in self.archives.iterdir()]
        for attempt in range(10_000):
            key = f"audit key {attempt:06}".encode()
            drawn = [
                sum(AuditDraw(rate, key).selects(one.checkpoint.root, index, 1) for index in range(one.start, one.end))
                for one in archives
            ]
            if sum(drawn) == wanted and all(drawn):
                write_private(self.folder / "audit.key", key)
                return self.folder / "audit.key"
        raise AssertionError("no such key")

    def seal(self) -> str:
        result = invoke("log", "seal", "--log", self.log, "--archives", self.archives, "--signing-key", self.key)
        assert result.exit_code == 0, result.output
        return result.output

    def check(self, *arguments: str | Path, expect: int = 0) -> str:
        result = invoke("log", "check", *(arguments or (self.archives,)), "--public-key", self.public)
        assert result.exit_code == expect, result.output
        return result.output


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    made = Logs(tmp_path)
    made.append(5)
    made.seal()
    made.append(3)
    made.seal()
    return made


def test_a_log_is_sealed_checked_and_shown(logs: Logs) -> None:
    assert "Holds: records 0 to 7 of example.org/log, in 2 archives." in logs.check()
    assert "Nothing new to seal." in logs.seal()
    shown = invoke("log", "show", logs.archives, "--public-key", logs.public).output
    assert "records  0 to 4" in shown
    assert "records  5 to 7" in shown
    line = invoke("log", "show", logs.archives, "--public-key", logs.public, "--record", 6).output
    (logs.folder / "one.jsonl").write_text(line)
    assert read_traffic(logs.folder / "one.jsonl")[0].record == records_of(GREEDY)[6]
    assert invoke("log", "show", logs.archives, "--public-key", logs.public, "--record", 8).exit_code == 2
    key = invoke("log", "key", "show", logs.key).output
    assert key == logs.public.read_text()


def test_the_seen_file_moves_on_and_catches_a_rollback(logs: Logs) -> None:
    first, second = sorted(logs.archives.iterdir())
    assert "is made" in logs.check(first, "--seen", logs.seen)
    assert "extends the 5 records" in logs.check(second, "--seen", logs.seen)
    seen = logs.seen.read_bytes()
    assert seen == invoke("log", "show", second, "--public-key", logs.public, "--checkpoint").output.encode()
    assert "ROLLBACK" in logs.check(first, "--seen", logs.seen, expect=1)
    assert logs.seen.read_bytes() == seen
    report = json.loads(logs.check(first, "--seen", logs.seen, "--json", expect=1))
    assert report["holds"] is False
    assert [finding["kind"] for finding in report["findings"]] == ["rollback"]


def test_a_changed_archive_is_told_by_exit_code_1_and_is_not_replayed(logs: Logs) -> None:
    archive = sorted(logs.archives.iterdir())[0]
    data = bytearray(archive.read_bytes())
    data[100] ^= 1
    archive.write_bytes(data)
    output = logs.check(expect=1)
    assert "The log does NOT hold:" in output
    assert f"SEAL       {archive}" in output
    result = invoke("run", logs.archives, "--public-key", logs.public, "--policy", BUNDLED_POLICY)
    assert result.exit_code == 2
    assert "nothing was replayed" in result.output


def test_archives_are_replayed_and_the_selection_can_be_checked_afterwards(logs: Logs, model_folder: Path) -> None:
    audit_key = logs.write_audit_key(0.5, wanted=4)
    arguments = ("run", logs.archives, "--public-key", logs.public, "--model", model_folder, "--policy", BUNDLED_POLICY)
    result = invoke(*arguments, "--json", logs.folder / "r.json", "--audit-rate", 0.5, "--audit-key", audit_key)
    assert result.exit_code == 2, result.output
    assert "Verdict: INCONCLUSIVE" in result.output
    assert "unsigned" not in result.output
    report = json.loads((logs.folder / "r.json").read_text())
    assert report["verdict"] == "inconclusive"  # a few of eight records: nothing is known about the others
    assert report["unsafe_unsigned"] is False
    assert report["log"] == ORIGIN
    assert report["total_records"] == 8
    selection = report["selection"]
    assert report["verified_records"] == sum(len(part["selected"]) for part in selection["ranges"]) == 4
    for part in selection["ranges"]:
        chosen = [
            i
            for i in range(part["start"], part["end"])
            if AuditDraw(selection["rate"], audit_key.read_bytes()).selects(bytes.fromhex(part["root"]), i, 1)
        ]
        assert part["selected"] == chosen


def test_an_imported_file_says_that_it_was_imported(logs: Logs, model_folder: Path) -> None:
    archive = logs.folder / "imported.parquet"
    second_history = invoke("log", "import", GREEDY, "--signing-key", logs.key, "--out", archive)
    assert second_history.exit_code == 2
    assert "would sign a second history" in second_history.output
    key, public = logs.folder / "import.key", logs.folder / "import.key.pub"
    assert invoke("log", "key", "new", f"{ORIGIN}/import-1", "--out", key).exit_code == 0
    result = invoke("log", "import", GREEDY, "--signing-key", key, "--out", archive)
    assert result.exit_code == 0, result.output
    assert "imported from" in invoke("log", "check", archive, "--public-key", public).output
    again = invoke("log", "import", GREEDY, "--signing-key", key, "--out", archive)
    assert again.exit_code == 2
    assert "is there already" in again.output
    one = logs.folder / "one.parquet"
    one_record = logs.folder / "one.jsonl"
    one_record.write_text(records_of(GREEDY)[0].model_dump_json() + "\n")
    assert invoke("log", "import", one_record, "--signing-key", key, "--out", one).exit_code == 0
    run = invoke("run", one, "--public-key", public, "--model", model_folder, "--policy", BUNDLED_POLICY)
    assert run.exit_code == 0
    assert "Warning: the log was imported from" in run.output


def test_a_proof_leads_from_the_record_to_the_signed_root(logs: Logs) -> None:
    second = sorted(logs.archives.iterdir())[1]
    result = invoke("log", "prove", 6, second, "--public-key", logs.public)
    assert result.exit_code == 0
    assert "c2sp.org/tlog-proof@v1\nindex 6\n" in result.output
    assert f"\n\n{ORIGIN}\n8\n" in result.output
    assert invoke("log", "prove", 2, second, "--public-key", logs.public).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["check", "{archives}", "--public-key", "missing.pub"], "missing.pub"),
        (["check", "{archives}", "--public-key", "{key}"], "a private key where a public key is wanted"),
        (["check", "missing.parquet", "--public-key", "{public}"], "missing.parquet"),
        (["check", "{empty}", "--public-key", "{public}"], "no archives"),
        (["check", "{archives}", "--public-key", "{public}", "--seen", "{public}"], "not a checkpoint"),
        (["check", "--public-key", "{public}"], "Missing argument"),
        (["seal", "--log", "missing.db", "--archives", "{archives}", "--signing-key", "{key}"], "missing.db"),
        (["seal", "--log", "{log}", "--archives", "{archives}", "--signing-key", "{public}"], "{public}"),
        (["key", "new", "two words", "--out", "{empty}/k"], "no spaces"),
        (["key", "new", "name", "--out", "{key}"], "is there already"),
        (["import", "{public}", "--signing-key", "{import_key}", "--out", "{empty}/a.parquet"], "{public}"),
        (["import", str(GREEDY), "--signing-key", "{import_key}", "--out", "/no/folder/a.parquet"], "/no/folder"),
    ],
)
def test_mistakes_are_told_with_exit_code_2_and_write_nothing(logs: Logs, arguments: list[str], complaint: str) -> None:
    empty = logs.folder / "empty"
    empty.mkdir()
    invoke("log", "key", "new", "example.org/import-1", "--out", logs.folder / "other")
    names = {
        **{"archives": logs.archives, "public": logs.public, "key": logs.key, "log": logs.log, "empty": empty},
        "import_key": logs.folder / "other",
    }
    before = {path: path.read_bytes() for path in logs.folder.rglob("*") if path.is_file()}
    os.chmod(logs.public, 0o600)  # noqa: PTH101
    result = invoke("log", *(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert complaint.format(**names) in result.output
    assert {path: path.read_bytes() for path in logs.folder.rglob("*") if path.is_file()} == before


def test_signed_and_unsigned_are_not_mixed_up(logs: Logs) -> None:
    for arguments, complaint in (
        ((logs.archives, "--public-key", logs.public, "--unsafe-unsigned"), "exclude each other"),
        ((GREEDY, "--unsafe-unsigned", "--seen", logs.seen), "--seen requires --public-key"),
        ((GREEDY,), "no --public-key"),
        ((GREEDY, "--public-key", logs.public), "a traffic file, not an archive"),
    ):
        result = invoke("run", *arguments, "--policy", BUNDLED_POLICY)
        assert result.exit_code == 2
        assert complaint in result.output


def test_a_log_rolls_over_and_its_archives_move(logs: Logs, tmp_path: Path) -> None:
    cold = tmp_path / "cold"
    cold.mkdir()
    logs.check("--seen", logs.seen, logs.archives)
    rolled = invoke(
        *("log", "rollover", "--log", logs.log, "--archives", logs.archives, "--public-key", logs.public),
        *("--seen", logs.seen, "--compact"),
    )
    assert "5 records removed. The present segment begins at record 5." in rolled.output
    assert "Compacted:" in rolled.output
    moved = invoke("log", "move", logs.archives, "--to", cold, "--public-key", logs.public, "--keep", "1")
    assert "records 0 to 4" in moved.output
    logs.append(2)
    logs.seal()
    assert "records 0 to 9" in logs.check(cold, logs.archives)
    again = invoke("log", "move", logs.archives, "--to", cold, "--public-key", logs.public, "--keep", "2")
    assert again.output == "Nothing to move.\n"


def test_a_rollover_without_its_archives_is_an_error_and_removes_nothing(logs: Logs, tmp_path: Path) -> None:
    result = invoke("log", "rollover", "--log", logs.log, "--archives", tmp_path, "--public-key", logs.public)
    assert result.exit_code == 2
    assert "000000000000-000000000005.parquet: not in" in result.output
    assert LogReader(str(logs.log)).segment_start().size == 0


def test_nothing_is_compacted_beside_a_writer(logs: Logs) -> None:
    with LogWriter.open(str(logs.log), origin=ORIGIN):
        arguments = ("--log", logs.log, "--archives", logs.archives, "--public-key", logs.public, "--compact")
        result = invoke("log", "rollover", *arguments)
    assert result.exit_code == 2
    assert "another process appends to this log" in result.output


@pytest.mark.parametrize(
    "command",
    [("log", "check"), ("log", "show"), ("log", "prove", "0"), ("run",)],
    ids=["check", "show", "prove", "run"],
)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("log.db", "log.db: a log's database, not an archive: `verify log seal` makes archives of it"),
        ("sqlite:///{folder}/log.db", "a log's database, not an archive"),
        ("postgresql://me:secret@127.0.0.1/log", "a log's database, not an archive"),
        ("traffic.jsonl", "traffic.jsonl: a traffic file, not an archive: `verify log import` makes an archive of it"),
    ],
)
def test_what_is_no_archive_is_told_by_what_it_is_with_exit_code_2(
    logs: Logs, command: tuple[str, ...], given: str, said: str
) -> None:
    (logs.folder / "traffic.jsonl").write_bytes(GREEDY.read_bytes())
    url = given.format(folder=logs.folder) if "://" in given else str(logs.folder / given)
    more = ("--model", "m", "--policy", BUNDLED_POLICY) if command == ("run",) else ()
    result = invoke(*command, url, "--public-key", logs.public, *more)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "secret" not in result.output


def test_a_database_under_an_archives_name_stays_a_finding(logs: Logs) -> None:
    first = min(logs.archives.iterdir())
    first.write_bytes(logs.log.read_bytes())
    assert "SEAL" in logs.check(expect=1)
    assert "SEAL" in logs.check(first, expect=1)


def test_what_is_no_traffic_is_told_by_what_it_is(logs: Logs) -> None:
    for given, said in (
        (logs.log, "a log's database, not a traffic file: `verify log seal` makes archives of it"),
        (min(logs.archives.iterdir()), "an archive of a log, not a traffic file: give --public-key"),
        (logs.archives, "a folder of archives is given with --public-key"),
    ):
        result = invoke("run", given, "--unsafe-unsigned", "--model", "m", "--policy", BUNDLED_POLICY)
        assert result.exit_code == 2, result.output
        assert f"{given}: " in result.output
        assert said in result.output
