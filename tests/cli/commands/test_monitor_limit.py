"""The limit of a series of audits, from reports and from archives, and in the state file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.commands.test_run import invoke, run, write
from tests.places import BUNDLED_POLICY
from tests.verifier.server.process import once
from tests.verifier.server.running import Log, honest, settings_in
from weightwarden.cli.commands.monitor_state import read_state
from weightwarden.logger.files.private import write_private
from weightwarden.verifier.audit_selection import AuditDraw, file_sha256, traffic_root
from weightwarden.verifier.server.accounting.current import current_accounts
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.length_table import LengthTable
from weightwarden.verifier.verification.series_limit import CODES, SeriesLimit

RECORDS = honest(30, 12)
RATE = 0.5
MONITOR = ("monitor", "--policy", BUNDLED_POLICY)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> list[Path]:
    """Reports of three days: a draw by tokens, one by records, and an audit of all records."""
    folder = tmp_path_factory.mktemp("days")
    made = []
    for day, design in enumerate((SamplingDesign(1.0, "tokens"), SamplingDesign(RATE), None)):
        records = honest(6, 60) if day == 0 else RECORDS[10 * day : 10 * day + 10]
        traffic = write(folder / f"{day}.jsonl", records)
        options: list[str | Path] = []
        if design is not None:
            key = key_that_draws(3, traffic, [len(record.output_token_ids) for record in records], design)
            write_private(folder / f"{day}.key", key)
            options = ["--audit-rate", str(design.rate), "--audit-by", design.by, "--audit-key", folder / f"{day}.key"]
        made.append(folder / f"{day}.json")
        result = run(traffic, model_folder, *options, "--json", made[-1])
        assert result.exit_code in (0, 2), result.output  # clear, or too little audited
        assert made[-1].exists(), result.output
    return made


def key_that_draws(wanted: int, traffic: Path, tokens: list[int], design: SamplingDesign) -> bytes:
    """An audit key under which an audit of a traffic file draws so many records."""
    root = traffic_root([file_sha256(traffic)])
    for key in (f"audit key {attempt:06}".encode() for attempt in range(100_000)):
        draw = AuditDraw(design.rate, key, design.by)
        if sum(draw.selects(root, index, count) for index, count in enumerate(tokens)) == wanted:
            return key
    raise AssertionError("no such key")


def loaded(*arguments: str | Path, expect: int = 0) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == expect, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_limit_covers_all_records_of_all_reports(tmp_path: Path, reports: list[Path]) -> None:
    found = loaded(*MONITOR, *reports)["limit"]
    series: SeriesLimit | None = None
    for path in reports:
        report = json.loads(path.read_text())
        statistics, selection = report["statistics"], report["selection"]
        records = statistics["records"]
        design = None if selection is None else SamplingDesign(selection["rate"], selection["by"])
        left = dict(zip(statistics["unaudited"]["tokens"], statistics["unaudited"]["records"], strict=True))
        audited = AuditedPopulation.of(records["tokens"], [], LengthTable.of(left), design)
        series = series or SeriesLimit.new(statistics["log2_vocabulary"], design or SamplingDesign(1.0), 16_384)
        end_bits_r = np.array(records["end_bits"])
        series.add(audited, {code: np.array(records[f"{code}_bits"]) + end_bits_r for code in CODES})
    assert series is not None
    assert (found["audits"], found["records"], found["tokens"]) == (3, series.records, series.tokens)
    assert (found["records"], found["audited_records"]) == (26, 16)
    for code in CODES:
        limit = series.limit(code, 0.99)
        assert limit is not None
        assert found[code]["limit_bits"] == pytest.approx(limit.bits)
        assert found[code]["limit"] == pytest.approx(limit.bits / series.tokens)
    assert found["leading_code"] == "pooled"
    shown = invoke(*MONITOR, *reports).output
    assert found["statement"] in shown
    assert "In the 3 audits of this series, 26 answers" in shown
    assert "audited or not, have carried at most" in shown


def test_a_state_keeps_the_limit(tmp_path: Path, reports: list[Path]) -> None:
    state = tmp_path / "state.json"
    for report in reports:
        by_days = loaded(*MONITOR, "--state", state, report)
    assert by_days["limit"] == loaded(*MONITOR, *reports)["limit"]
    assert read_state(state).limit.draws == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda limit: limit.pop("totals"), "limit.totals"),
        (lambda limit: limit["totals"]["pooled"]["price_k"].pop(), "price_k"),
        (lambda limit: limit["totals"]["pooled"].update(audited_bits=-1.0), "limit.totals.pooled.audited_bits"),
        (lambda limit: limit["totals"]["pooled"]["share_k"].__setitem__(0, 0.99), "share_k"),
    ],
)
def test_a_state_with_an_edited_limit_is_refused(
    tmp_path: Path, reports: list[Path], change: Callable[[Any], Any], field: str
) -> None:
    state = tmp_path / "state.json"
    invoke(*MONITOR, "--state", state, reports[2])
    edited = json.loads(state.read_text())
    change(edited["limit"])
    state.write_text(json.dumps(edited))
    result = invoke(*MONITOR, "--state", state, reports[0])
    assert result.exit_code == 2
    assert "state.json" in result.output
    assert field in result.output


@pytest.mark.slow
def test_monitor_and_server_come_to_the_same_limit(tmp_path: Path, model_folder: Path) -> None:
    settings_in(tmp_path)
    log = Log(tmp_path / "archives")
    for start in range(0, 30, 6):
        log.seal(RECORDS[start : start + 6])
    once(tmp_path, str(tmp_path / "verdicts.db"), "--audit-rate", RATE)
    draw = ("--audit-rate", str(RATE), "--audit-key", tmp_path / "audit.key", "--public-key", tmp_path / "log.pub")
    found = loaded(*MONITOR, *draw, "--model", model_folder, tmp_path / "archives")["limit"]
    with VerdictDatabase(str(tmp_path / "verdicts.db")).reading() as connection:
        series = current_accounts(connection).limit
    assert (found["records"], found["audited_records"]) == (series.records, series.audited_records)
    assert series.records == 30
    for code in CODES:
        limit = series.limit(code, 0.99)
        assert limit is not None
        assert found[code]["limit_bits"] == pytest.approx(limit.bits, rel=1e-6)
