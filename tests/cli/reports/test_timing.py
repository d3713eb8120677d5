"""The timing of a run's records in its reports: of all records, audited or not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands.log.test_log import ORIGIN, Logs
from tests.cli.commands.test_run import invoke, run, write
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, GREEDY, records_of
from weightwarden.cli.reports.timing import timing_sentence
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.record import Record
from weightwarden.logger.release import Pace, Release
from weightwarden.logger.store.writer import LogWriter
from weightwarden.verifier.scoring.release_code import CHOICE_BITS, SLOT_BITS
from weightwarden.verifier.scoring.release_ledger import ReleaseCounter

PACE = Pace(tokens=8, milliseconds=200)


def paced(record: Record, slot: int, missed: int = 0) -> Record:
    underruns = [[1, missed]] if missed else []
    release = Release(pace=PACE, streamed=True, start_slot=slot, underruns=underruns)
    return record.model_copy(update={"release": release})


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> tuple[list[Record], dict[str, Any]]:
    """The nine records of two archives, and the report of an audit of four of them."""
    logs = Logs(tmp_path_factory.mktemp("paced"))
    records = [paced(record, 10 + at % 3, at % 2) for at, record in enumerate(records_of(FILTERED)[:9])]
    for some in (records[:5], records[5:]):
        with LogWriter.open(str(logs.log), origin=ORIGIN) as writer:
            for record in some:
                writer.append(encode_record(record)).result(60)
        logs.seal()
    audit_key = logs.write_audit_key(0.4, wanted=4)
    result = invoke(
        *("run", logs.archives, "--public-key", logs.public, "--policy", BUNDLED_POLICY, "--model", model_folder),
        *("--audit-rate", 0.4, "--audit-key", audit_key, "--json", logs.folder / "r.json"),
    )
    assert result.exit_code == 2, result.output
    assert "For all 9 records, audited or not, and without a draw" in " ".join(result.output.split())
    checked = invoke("report", "check", logs.folder / "r.json")
    assert checked.exit_code == 0, checked.output
    return records, json.loads((logs.folder / "r.json").read_text())


def test_the_timing_of_archives_is_of_all_records_audited_or_not(
    sampled: tuple[list[Record], dict[str, Any]],
) -> None:
    records, report = sampled
    timing, counter = report["timing"], ReleaseCounter()
    for record in records:
        counter.add(record)
    assert (timing["state"], timing["records"], timing["open_records"]) == ("paced", 9, 0)
    assert timing["tokens"] == report["statistics"]["total_tokens"]
    assert timing["underruns"] == 4
    assert timing["bits"] == pytest.approx(counter.table.bits)
    assert timing["bits_per_token"] == pytest.approx(counter.table.bits / timing["tokens"])


def test_traffic_without_releases_is_open_and_has_no_sum(tmp_path: Path, model_folder: Path) -> None:
    traffic = write(tmp_path / "t.jsonl", records_of(GREEDY)[:2])
    result = run(traffic, model_folder, "--json", tmp_path / "r.json")
    said = " ".join(result.output.split())
    assert "timing not drawn OPEN No record holds the moments at which its answer left" in said
    assert "--release-pace" in said
    assert "tokens, ends and timing" not in said
    timing = json.loads((tmp_path / "r.json").read_text())["timing"]
    assert (timing["state"], timing["bits"], timing["bits_per_token"]) == ("open", 0, None)


def test_paced_traffic_has_the_sum_of_all_that_is_on_record(tmp_path: Path, model_folder: Path) -> None:
    traffic = write(tmp_path / "t.jsonl", [paced(record, 12) for record in records_of(GREEDY)[:3]])
    result = run(traffic, model_folder, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    report = json.loads((tmp_path / "r.json").read_text())
    bits = report["statistics"]["bits_per_token"]
    tokens = report["statistics"]["total_tokens"]
    whole = bits[bits["leading_code"]]["limit"] + report["timing"]["bits"] / tokens
    line = next(line for line in result.output.splitlines() if "tokens, ends and timing" in line)
    stated = float(line.split("at most ")[1].split()[0])
    assert whole <= stated <= whole + 1e-4
    assert ">tokens, ends and timing<" in (tmp_path / "r.html").read_text()


def test_partly_open_timing_says_of_how_many_records() -> None:
    counter = ReleaseCounter()
    plain = records_of(GREEDY)[0]
    for record in (plain, paced(plain, 3), plain):
        counter.add(record)
    said = timing_sentence(counter.table)
    assert said.startswith("For the 1 records that hold them, of 3 records")
    assert "OPEN for the other 2" in said
    assert counter.table.bits > SLOT_BITS + CHOICE_BITS
