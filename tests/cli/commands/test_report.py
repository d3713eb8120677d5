"""`verify report`: what an auditor signed is checked, and every change, forgery or contradiction is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.edited_records.edits import ATTACKS
from tests.cli.commands.log.test_log import Logs
from tests.cli.commands.test_run import invoke, run, write
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, records_of
from weightwarden.cli.reports.contents import Report
from weightwarden.cli.reports.reading import read_report
from weightwarden.cli.reports.redraw import draw_faults
from weightwarden.cli.reports.signature import sha256_of
from weightwarden.logger.archive.reader import output_lengths, read_archive
from weightwarden.logger.files.private import write_private
from weightwarden.logger.release import Pace, Release
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import leaf_hash
from weightwarden.logger.tlog.signed_note import sign_note
from weightwarden.verifier.audit_selection import AuditDraw

NAME = "example.org/auditor-jane"


PACE = Pace(tokens=8, milliseconds=200)
PACED = (
    Release(pace=PACE, streamed=True, start_slot=20, underruns=[[2, 3]]),
    Release(pace=PACE, streamed=False, start_slot=22),
)


def key_by_tokens(logs: Logs) -> Path:
    """A file with a key under which an audit by tokens at rate 1 draws two records, of two archives."""
    keys = PublicKeys.read(logs.public)
    archives = [(path, read_archive(str(path), keys)) for path in sorted(logs.archives.iterdir())]
    for attempt in range(10_000):
        draw = AuditDraw(1.0, f"audit key {attempt:06}".encode(), "tokens")
        drawn = [
            sum(
                draw.selects(one.checkpoint.root, one.start + place, tokens)
                for place, tokens in enumerate(output_lengths(str(path)))
            )
            for path, one in archives
        ]
        if drawn == [1, 1]:
            write_private(logs.folder / "tokens.key", draw.key)
            return logs.folder / "tokens.key"
    raise AssertionError("no such key")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A folder with the reports of an alarm on traffic, of an audit of archives, and an auditor's key."""
    folder = tmp_path_factory.mktemp("signed")
    records = records_of(FILTERED)[:4]
    records[1] = ATTACKS["replaced answer"](records[1], 49152, np.random.default_rng(1))
    records[2:] = [
        record.model_copy(update={"release": release}) for record, release in zip(records[2:], PACED, strict=True)
    ]
    write(folder / "t.jsonl", records)
    result = run(folder / "t.jsonl", model_folder, "--json", folder / "r.json", "--html", folder / "r.html")
    assert result.exit_code == 1
    logs = Logs(folder)
    logs.append(5)
    logs.seal()
    logs.append(4)
    logs.seal()
    audit_key = logs.write_audit_key(0.4, wanted=4)
    result = invoke(
        *("run", logs.archives, "--public-key", logs.public, "--policy", BUNDLED_POLICY, "--model", model_folder),
        *("--audit-rate", 0.4, "--audit-key", audit_key, "--json", folder / "archives.json"),
    )
    assert result.exit_code == 2, result.output
    by_tokens = invoke(
        *("run", logs.archives, "--public-key", logs.public, "--policy", BUNDLED_POLICY, "--model", model_folder),
        *("--audit-rate", 1, "--audit-by", "tokens", "--audit-key", key_by_tokens(logs)),
        *("--json", folder / "tokens.json"),
    )
    assert by_tokens.exit_code == 2, by_tokens.output
    assert "by tokens: 2 of 9 records" in by_tokens.output
    assert invoke("report", "key", "new", NAME, "--out", folder / "auditor.key").exit_code == 0
    result = invoke(
        *("report", "sign", folder / "r.json", folder / "r.html"),
        *("--key", folder / "auditor.key", "--out", folder / "r.sig"),
    )
    assert result.exit_code == 0, result.output
    return folder


def check(made: Path, *reports: Path, signature: Path | None = None, key: Path | None = None, expect: int) -> str:
    signed: list[str | Path] = ["--signature", signature or made / "r.sig"]
    result = invoke("report", "check", *reports, *signed, "--public-key", key or made / "auditor.key.pub")
    assert result.exit_code == expect, result.output
    return result.output


def test_a_signed_report_holds_and_says_who_signed_what_when(made: Path) -> None:
    said = check(made, made / "r.json", made / "r.html", expect=0)
    assert f"signed by {NAME}+" in said
    assert said.count("sha256") == 2
    said = check(made, made / "r.html", expect=0)
    assert "r.json: signed too, and not given here" in said


@pytest.mark.parametrize("name", ["r.json", "r.html"])
def test_a_changed_byte_does_not_hold(made: Path, tmp_path: Path, name: str) -> None:
    data = bytearray((made / name).read_bytes())
    at = data.index(b"alarm")
    data[at] ^= 0x20
    (tmp_path / name).write_bytes(data)
    assert f"{name}: is not among the signed files" in check(made, tmp_path / name, expect=1)


def test_white_space_is_a_change_too_and_a_new_name_is_not(made: Path, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text((made / "r.json").read_text() + "\n")
    check(made, tmp_path / "r.json", expect=1)
    (tmp_path / "copy.json").write_bytes((made / "r.json").read_bytes())
    assert "signed as r.json" in check(made, tmp_path / "copy.json", expect=0)


def test_another_report_does_not_hold_under_the_same_signature(made: Path) -> None:
    said = check(made, made / "r.json", made / "archives.json", expect=1)
    assert "archives.json: is not among the signed files" in said


def test_no_part_of_a_signature_can_be_cut_off(made: Path, tmp_path: Path) -> None:
    whole = (made / "r.sig").read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.sig").write_bytes(whole[:end])
        check(made, made / "r.html", signature=tmp_path / "cut.sig", expect=1)
    (tmp_path / "cut.sig").write_bytes(whole[:-1])
    check(made, made / "r.html", signature=tmp_path / "cut.sig", expect=1)


def test_the_key_of_a_log_signs_no_report_and_an_auditors_no_log(made: Path, tmp_path: Path) -> None:
    result = invoke("report", "sign", made / "r.json", "--key", made / "key", "--out", tmp_path / "x.sig")
    assert (result.exit_code, (tmp_path / "x.sig").exists()) == (2, False)
    assert "is no auditor's key" in result.output
    assert "is no auditor's key" in check(made, made / "r.html", key=made / "key.pub", expect=2)
    for command in (
        ("log", "key", "new", NAME, "--out", tmp_path / "k"),
        ("log", "import", FILTERED, "--signing-key", made / "auditor.key", "--out", tmp_path / "a.parquet"),
        ("log", "seal", "--log", made / "log.db", "--archives", tmp_path, "--signing-key", made / "auditor.key"),
    ):
        result = invoke(*command)
        assert result.exit_code == 2
        assert "auditor's key, which signs reports and no log" in result.output
    assert invoke("report", "key", "new", "example.org/log", "--out", tmp_path / "k").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_note_that_the_auditor_signed_for_something_else_is_no_signature(made: Path, tmp_path: Path) -> None:
    key = SigningKey.read(made / "auditor.key")
    for text in (
        Checkpoint(NAME, 1, leaf_hash(b"")).text(),
        "weightwarden-report-signature/1\n",
        "weightwarden-report-signature/1\nyesterday\n" + "0" * 64 + " r.html\n",
        "weightwarden-report-signature/1\n2026-11-29T12:00:00Z\n",
        "weightwarden-report-signature/1\n2026-11-29T12:00:00Z\nr.html\n",
        (made / "r.sig").read_text().partition("\n\n")[0].replace("signature/1", "signature/2") + "\n",
    ):
        (tmp_path / "x.sig").write_bytes(sign_note(text, [key]))
        check(made, made / "r.html", signature=tmp_path / "x.sig", expect=1)


def test_a_signature_of_an_unknown_auditor_does_not_hold(made: Path, tmp_path: Path) -> None:
    assert invoke("report", "key", "new", NAME, "--out", tmp_path / "other").exit_code == 0
    assert "no known key signed it" in check(made, made / "r.html", key=tmp_path / "other.pub", expect=1)


@pytest.mark.parametrize("name", ["r.json", "archives.json"])
def test_a_report_of_a_run_agrees_with_itself(made: Path, name: str) -> None:
    result = invoke("report", "check", made / name)
    assert (result.exit_code, result.output.split()[0]) == (0, "Holds."), result.output


def put(path: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    """A change of the value at a path."""

    def apply(report: dict[str, Any]) -> None:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        at: Any = report
        for part in parents:
            at = at[part]
        at[last] = change(at[last])

    return apply


CONTRADICTIONS = {
    "r.json": [
        ("verdict", lambda _: "clear", "its figures give alarm"),
        ("run_p_value", lambda _: 0.5, "its figures give"),
        ("safe", lambda old: old + 1, "verified_tokens"),
        ("suspicious", lambda old: old + 1, "suspicious"),
        ("dangerous", lambda old: old - 1, "dangerous"),
        ("flagged", lambda _: [], "flagged: 0 where the other figures give 1"),
        ("flagged", lambda old: old * 2, "named twice"),
        ("flagged.0.record", lambda _: 77, "that was not audited"),
        ("total_records", lambda old: old + 1, "the inputs hold"),
        ("verified_records", lambda old: old - 1, "verified_records"),
        ("charged_fraction", lambda old: old / 2, "charged_fraction"),
        ("statistics.bits_per_token.counting.limit", lambda old: old / 2, "not limit_bits by total_tokens"),
        ("statistics.bits_per_token.pooled.rate", lambda old: old / 2, "rate: "),
        ("statistics.bits_per_token.counting.stock_bits", lambda old: old + 1, "stock_bits: 1 bits"),
        ("statistics.records.counting_bits.0", lambda old: old + 1, "counting: audited"),
        ("statistics.records.probability.1", lambda _: 0.5, "probability: not that of the draw"),
        ("statistics.rates.mismatch.value", lambda old: old / 2, "rates.mismatch"),
        ("statistics.rates.dangerous.high", lambda old: old / 2, "not between its limits"),
        ("statistics.records.tokens.0", lambda old: old + 1, "verified_tokens"),
        ("inputs.0.sha256", lambda _: "0" * 64, "audit_digest"),
        ("audit_digest", lambda _: "0" * 64, "audit_digest"),
        ("unsafe_unsigned", lambda _: False, "traffic files are unsigned"),
        ("model_digest", lambda _: "sha256:" + "0" * 64, "its model is not the report's"),
        ("created", lambda _: "yesterday", "created"),
        ("timing.state", lambda _: "paced", "timing.state"),
        ("timing.open_records", lambda old: old + 1, "timing: 5 records, and there are 4"),
        ("timing.bits", lambda old: old / 2, "timing.bits"),
        ("timing.bits_per_token", lambda _: None, "timing.bits_per_token"),
        ("timing.underruns", lambda old: old + 1, "timing.underruns"),
        ("timing.tokens", lambda old: old + 1_000_000, "timing.tokens"),
        ("timing.counts.start_slots.20", lambda old: old + 1, "timing.records"),
        ("timing.counts.records.0", lambda old: old + 9, "more records than there are start slots"),
        ("timing.counts.unknown_records", lambda old: old + 1, "more records than there are start slots"),
        ("timing.counts.runs.0.0", lambda _: 0, "cannot have runs [0, 0, 0, 0]"),
        ("timing.counts.runs.0", lambda old: old[::-1], "cannot have runs [0, 0, 0, 1]"),
        ("timing.counts.runs.0", lambda old: old[:3], "timing.counts.runs.0"),
        ("statistics.records.flagged", lambda old: old[1:], "different lengths"),
    ],
    "archives.json": [
        ("verdict", lambda _: "clear", "its figures give inconclusive"),
        ("statistics.bits_per_token.counting.conclusive", lambda _: True, "conclusive"),
        ("statistics.bits_per_token.pooled.needs", lambda _: None, "conclusive"),
        ("statistics.bits_per_token.pooled.limit_bits", lambda old: old / 2, "limit_bits: "),
        ("statistics.bits_per_token.pooled.stock_bits", lambda old: old / 2, "stock_bits: "),
        ("statistics.unaudited.records.0", lambda old: old + 1, "total_records"),
        ("statistics.unaudited.tokens", lambda old: old[::-1], "ascending"),
        ("statistics.records.probability.0", lambda _: 1.0, "probability: not that of the draw"),
        ("selection.ranges.0.selected", lambda old: old[1:], "audit_digest"),
        ("inputs.1.root", lambda _: "0" * 64, "audit_digest"),
        ("inputs.1.size", lambda old: old + 1, "checkpoint"),
        ("inputs.1.end", lambda old: old + 1, "the inputs hold"),
        ("log", lambda _: "example.org/other", "the archives are of another"),
        ("audit_rate", lambda _: None, "one without the other"),
    ],
}


@pytest.mark.parametrize(
    ("name", "path", "change", "said"),
    [(name, *rest) for name, changes in CONTRADICTIONS.items() for rest in changes],
)
def test_a_contradiction_is_found_and_not_signed(
    made: Path, tmp_path: Path, name: str, path: str, change: Callable[[Any], Any], said: str
) -> None:
    report = json.loads((made / name).read_text())
    put(path, change)(report)
    (tmp_path / "r.json").write_text(json.dumps(report))
    result = invoke("report", "check", tmp_path / "r.json")
    assert result.exit_code == 1, result.output
    assert said in result.output
    signed = invoke("report", "sign", tmp_path / "r.json", "--key", made / "auditor.key", "--out", tmp_path / "r.sig")
    assert (signed.exit_code, (tmp_path / "r.sig").exists()) == (2, False)


def test_the_inputs_are_compared_by_their_bytes(made: Path, tmp_path: Path) -> None:
    archives = sorted((made / "archives").iterdir())
    result = invoke("report", "check", made / "archives.json", "--input", archives[0])
    assert result.exit_code == 0
    assert f"{archives[0]}: is an input of the report" in result.output
    assert f"{archives[1].name}: an input that was not compared" in result.output
    (tmp_path / "t.jsonl").write_text((made / "t.jsonl").read_text() + "\n")
    result = invoke("report", "check", made / "r.json", "--input", tmp_path / "t.jsonl")
    assert result.exit_code == 1
    assert "is not an input of the report" in result.output


def test_the_draw_is_repeated_with_the_audit_key(made: Path) -> None:
    by_records = invoke("report", "check", made / "archives.json", "--audit-key", made / "audit.key")
    assert by_records.exit_code == 0, by_records.output
    assert "the audit key draws these records, and no others" in by_records.output
    by_tokens = ("report", "check", made / "tokens.json", "--audit-key", made / "tokens.key")
    assert "for others, whose lengths decide, give every input" in invoke(*by_tokens).output
    inputs = [argument for path in sorted((made / "archives").iterdir()) for argument in ("--input", path)]
    result = invoke(*by_tokens, *inputs)
    assert result.exit_code == 0, result.output
    assert "the audit key draws these records, and no others" in result.output
    other = invoke("report", "check", made / "tokens.json", "--audit-key", made / "audit.key")
    assert other.exit_code == 1
    assert "drawn with another audit key" in other.output
    whole = invoke("report", "check", made / "r.json", "--audit-key", made / "audit.key")
    assert "all records were audited" in whole.output


def test_a_record_that_the_key_does_not_draw_or_that_is_left_out_is_named(made: Path) -> None:
    key = (made / "tokens.key").read_bytes()
    lengths = {sha256_of(path): output_lengths(str(path)) for path in (made / "archives").iterdir()}
    report = read_report(made / "tokens.json")
    assert list(draw_faults(report, key, lengths)) == []
    content = report.model_dump(mode="json")
    first = content["selection"]["ranges"][0]
    drawn = first["selected"][0]
    other = next(index for index in range(5) if index != drawn)
    first["selected"] = [other]
    content["statistics"]["records"]["tokens"][0] = next(iter(lengths.values()))[0]
    faults = list(draw_faults(Report.model_validate(content), key, lengths))
    assert f"selection: the audit key does not select record {other}" in faults
    assert f"selection: the audit key selects record {drawn}" in faults
    assert faults == list(dict.fromkeys(faults))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("check", "{made}/r.html"), "only JSON reports can be checked without --signature"),
        (("check", "{made}/r.json", "--signature", "{made}/r.sig"), "require each other"),
        (("check", "{made}/missing.json"), "missing.json: cannot be read"),
        (
            ("check", "{made}/r.html", "--signature", "{made}/no.sig", "--public-key", "{made}/auditor.key.pub"),
            "no.sig",
        ),
        (("check", "{made}/r.json", "--input", "{made}/nothing"), "nothing: cannot be read"),
        (("check", "{made}/r.html", "--audit-key", "{made}/audit.key"), "without --signature"),
        (("sign", "{made}/r.json", "--key", "{made}/auditor.key.pub", "--out", "{tmp}/s"), "auditor.key.pub"),
        (("sign", "{made}/r.json", "--key", "{made}/auditor.key", "--out", "/nowhere/s"), "/nowhere/s"),
        (("sign", "{made}/r.json", "{made}/r.json", "--key", "{made}/auditor.key", "--out", "{tmp}/s"), "same name"),
    ],
)
def test_mistakes_give_no_result(made: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    result = invoke("report", *(argument.format(made=made, tmp=tmp_path) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert complaint in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_report_cannot_write_to_the_terminal(made: Path, tmp_path: Path) -> None:
    report = json.loads((made / "archives.json").read_text())
    report["log"] = "example.org/\x1b[2J\x1b[1;1HHolds."
    report["inputs"][0]["path"] = "\x1b[2J"
    (tmp_path / "r.json").write_text(json.dumps(report))
    for more in ((), ("--input", made / "t.jsonl"), ("--input", sorted((made / "archives").iterdir())[0])):
        result = invoke("report", "check", tmp_path / "r.json", *more)
        assert result.exit_code == 1
        assert "\x1b" not in result.output


def test_a_report_of_another_version_gives_no_result(made: Path, tmp_path: Path) -> None:
    report = json.loads((made / "r.json").read_text()) | {"format": "weightwarden-report/1"}
    (tmp_path / "r.json").write_text(json.dumps(report))
    result = invoke("report", "check", tmp_path / "r.json")
    assert result.exit_code == 2
    assert "format" in result.output
