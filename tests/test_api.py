"""The public API: what it gives is what the command gives, and every token besides."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import weightwarden as ww
from tests.places import BUNDLED_POLICY, EXAMPLES, ROOT
from tests.recorded import FILTERED, records_of
from weightwarden.cli.main import verify as command
from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.cli.reports.json import json_report
from weightwarden.logger.files.private import write_private
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.store.writer import LogWriter
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

HONEST, TAMPERED = (BUNDLED_POLICY.with_name(f"{name}.jsonl") for name in ("honest", "tampered"))
ORIGIN = "example.org/log"


def invoke(*arguments: Any) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code in (0, 1), result.output
    return result.output


@pytest.fixture(scope="module")
def run(replayer: TransformersReplayer) -> ww.Run:
    steps: list[int] = []
    given = ww.read_traffic(HONEST, TAMPERED)
    found = ww.verify(given, ww.read_policy(BUNDLED_POLICY), replayer, progress=steps.append)
    assert sum(steps) == given.tokens
    return found


def test_it_says_what_the_command_says(run: ww.Run, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    invoke("run", HONEST, TAMPERED, "--policy", BUNDLED_POLICY, "--unsafe-unsigned", "--json", report)
    ours, theirs = json.loads(json_report(run, ReportIdentity.of(BUNDLED_POLICY))), json.loads(report.read_text())
    for found in (ours, theirs):
        for measured in [name for name in found if "second" in name or name == "created"]:
            del found[measured]
    assert ours == theirs
    assert run.verdict == "alarm"


def test_one_row_a_token(run: ww.Run) -> None:
    table = run.tokens_frame()
    records = records_of(HONEST) + records_of(TAMPERED)
    assert table.num_rows == run.exposure.tokens == sum(len(record.output_token_ids) for record in records)
    rows = table.to_pylist()
    assert [row["token"] for row in rows] == [token for record in records for token in record.output_token_ids]
    assert sum(row["verdict"] == "dangerous" for row in rows) == run.verification.charges.dangerous_r.sum() > 0
    assert {row["record"] for row in rows if row["flagged"]} <= {one.place for one in run.verification.flagged}
    assert sum(not row["exact"] for row in rows) == run.verification.tokens - run.verification.exact
    assert all(row["margin"] is None or row["margin"] == row["margin"] for row in rows)


def test_archives_are_checked_drawn_and_verified(replayer: TransformersReplayer, tmp_path: Path) -> None:
    log = str(tmp_path / "log.db")
    invoke("log", "key", "new", ORIGIN, "--out", tmp_path / "log")
    (tmp_path / "archives").mkdir()
    with LogWriter.open(log, origin=ORIGIN) as writer:
        for record in records_of(FILTERED)[:6]:
            writer.append(encode_record(record)).result(60)
    invoke("log", "seal", "--log", log, "--archives", tmp_path / "archives", "--signing-key", tmp_path / "log")
    write_private(tmp_path / "audit.key", bytes(32))
    archives: dict[str, Any] = {"public_key": tmp_path / "log.pub"}
    whole = ww.read_archives(tmp_path / "archives", **archives)
    some = ww.read_archives(tmp_path / "archives", **archives, audit_rate=0.7, audit_key=tmp_path / "audit.key")
    assert len(whole.indices) == 6 > len(some.indices) > 0
    assert ww.verify(some, ww.read_policy(BUNDLED_POLICY), replayer).verdict == "inconclusive"
    with pytest.raises(ValueError, match="go together"):
        ww.read_archives(tmp_path / "archives", **archives, audit_rate=0.7)

    picture = tmp_path / "margins.png"
    example = [EXAMPLES / "notebook.py", tmp_path / "archives", tmp_path / "log.pub", BUNDLED_POLICY, picture]
    done = subprocess.run([sys.executable, *example], cwd=ROOT, env=_headless(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "clear: 6 records" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def _headless() -> dict[str, str]:
    return {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_policy_is_made_and_judges(replayer: TransformersReplayer) -> None:
    result = ww.calibrate(ww.read_traffic(HONEST), replayer)
    assert ww.verify(ww.read_traffic(TAMPERED), result.policy, replayer).verdict == "alarm"


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda folder: ww.read_traffic(folder / "none.jsonl"), "none.jsonl"),
        (lambda folder: ww.read_policy(folder / "none.toml"), "none.toml"),
        (lambda folder: ww.load_model(folder), "config.json"),
        (lambda folder: ww.read_archives(folder, public_key=folder / "none.pub"), "none.pub"),
    ],
)
def test_errors_are_of_one_class_and_name_the_file(call: Any, named: str, tmp_path: Path) -> None:
    with pytest.raises(ww.WeightwardenError, match=named):
        call(tmp_path)


def test_public_names_are_there_documented_and_load_late() -> None:
    for name in ww.__all__:
        assert getattr(ww, name).__doc__
    assert set(ww.__all__) <= set(dir(ww))
    with pytest.raises(AttributeError):
        ww.nothing  # noqa: B018
    code = "import weightwarden, sys; weightwarden.WeightwardenError; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
